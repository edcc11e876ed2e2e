"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from selena.auditing.conditions import METRICS
from selena.files.escaping import printable
from selena.registry import ATTACKS, DATASETS, DEFENSES, EVERY_FLIP, FAMILIES


def can_be_written(path: Path | None) -> Path | None:
    """Return `path`, or raise an error if nothing can be written there; called before any work."""
    if path is not None:
        there = next(each for each in (path, *path.absolute().parents) if each.exists())
        if (there != path and not there.is_dir()) or not os.access(there, os.W_OK):
            raise typer.BadParameter(f"{printable(str(there))} cannot be written to.")
    return path


Dataset = Annotated[
    str | None,
    typer.Option(
        help=f"One of {', '.join(DATASETS)} (see `selena list datasets`); an .npz, .csv or "
        ".parquet file; a folder of images, as FOLDER/train/CLASS/*.png or *.jpg, optionally with "
        "FOLDER/test/CLASS/; or a .tar.gz archive in the form of CIFAR (default: "
        "purchase100-synthetic)."
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder with the archive of the data set; without it, the archive is downloaded."
    ),
]
Size = Annotated[int | None, typer.Option(help="Number of records of a synthetic data set.")]
LabelColumn = Annotated[
    str | None,
    typer.Option(help="Label column of a .csv or .parquet file (default: label)."),
]
SubjectColumn = Annotated[
    str | None,
    typer.Option(
        help="Subject id of each row: a column of a .csv or .parquet file, or an array of an .npz "
        "file. Rows of one subject stay together, and each subject gets one score."
    ),
]
NMembers = Annotated[
    int | None,
    typer.Option(
        help="Number of training records of the target model (default: see `selena list datasets`)."
    ),
]
Partition = Annotated[
    str | None,
    typer.Option(
        help="default, or paper: the paper's numbers of members, known and test records (for "
        "Purchase100, Texas100 and CIFAR-100)."
    ),
]
Canaries = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Number of records to plant with a wrong label. A coin decides for each whether it is "
        "trained on, and they are reported separately (default: 0).",
    ),
]
CanaryKind = Annotated[
    str | None,
    typer.Option(
        help="mislabelled; twins (each canary in training has a near-duplicate there); or "
        "grouped-twins (the same, and the defense is told which are duplicates) (default: "
        "mislabelled)."
    ),
]
CanaryDistance = Annotated[
    float | None,
    typer.Option(
        help="How much a near-duplicate of a canary differs: bits of binary records, standard "
        "deviations of other numbers, pixels that an image is shifted by (default: as little as "
        "possible)."
    ),
]
Defenses = Annotated[
    list[str] | None,
    typer.Option(
        "--defense",
        help="Defense to train; repeat the option for several (default: undefended and selena). "
        f"One of {', '.join(DEFENSES)} (see `selena list defenses`).",
    ),
]
Attacks = Annotated[
    list[str] | None,
    typer.Option(
        "--attack",
        "--attacks",
        help="Attacks or families of attacks, separated by commas; repeat the option for more. "
        f"Families: {', '.join(FAMILIES)}. Attacks: {', '.join([*ATTACKS, EVERY_FLIP])} (see "
        "`selena list attacks`).",
    ),
]
Seeds = Annotated[
    list[int] | None,
    typer.Option("--seed", help="Random seed; repeat the option for several runs (default: 0)."),
]
Selection = Annotated[
    str | None,
    typer.Option(
        help="Which epoch's weights to keep: last; validation (best on validation records); or "
        "paper (best on the test set, which reports flag as biased) (default: last)."
    ),
]
Device = Annotated[
    str | None, typer.Option(help="Where networks train: cpu, cuda, cuda:1, ... (default: cpu).")
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0, help="Processes that train an ensemble on CPUs; 0 for one per core (default: 0)."
    ),
]
Executor = Annotated[
    str | None,
    typer.Option(
        help="Who trains long ensembles and reference models: local (processes of this machine); "
        "ray (the Ray cluster of RAY_ADDRESS, or one on this machine); ray://HOST:PORT; or "
        "dask://HOST:PORT (default: local)."
    ),
]
Mixed = Annotated[
    bool,
    typer.Option(
        "--mixed",
        help="Let machines of a cluster take part that round otherwise than this one. The report "
        "names them.",
    ),
]
TaskGpus = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="GPUs, or the share of one, per task of a cluster; 0 to train on --device "
        "(default: 0).",
    ),
]
NSubmodels = Annotated[
    int | None,
    typer.Option(min=1, help="Number of sub-models, K in the paper (default: 25)."),
]
NNonmodels = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Number of sub-models that do not train on a given record, L in the paper "
        "(default: 10).",
    ),
]
NearDuplicates = Annotated[
    str | None,
    typer.Option(
        help="Which training records share their non-models because they are near copies: auto "
        "finds them by their distances; exact takes equal records alone; a number is a distance, "
        "in bits of binary records or standard deviations of other numbers (default: auto)."
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Epochs of every classifier: the undefended one, sub-models, and the distilled "
        "student (default: the plan of the data set).",
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(min=1, help="Records per step, likewise (default: the plan of the data set)."),
]
LearningRate = Annotated[
    float | None,
    typer.Option(help="Peak learning rate, likewise (default: the plan of the data set)."),
]
Runs = Annotated[
    Path,
    typer.Option(
        help="Folder for run folders. Finished work found there is reused.",
        file_okay=False,
        callback=can_be_written,
    ),
]
ReportFolder = Annotated[
    Path,
    typer.Option(
        help="Folder for the report: report.md, .json, .png and .html.",
        file_okay=False,
        callback=can_be_written,
    ),
]
Json = Annotated[
    Path | None,
    typer.Option(
        "--json",
        help="File to write the results to, as JSON.",
        dir_okay=False,
        callback=can_be_written,
    ),
]
Html = Annotated[
    Path | None,
    typer.Option(
        "--html",
        help="File to write the report to, as one self-contained HTML page.",
        dir_okay=False,
        callback=can_be_written,
    ),
]
Config = Annotated[
    Path | None, typer.Option(help="TOML file of settings. Options given here beat the file.")
]
KeepSubmodels = Annotated[
    bool, typer.Option("--keep-submodels", help="Keep the sub-models in RUNS/artifacts.")
]
FailIf = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-if",
        help="Condition that fails the gate, such as 'advantage>0.10' or 'tpr@fpr=1%>5%'; repeat "
        "the option for several. Exit codes: 0 passes, 3 fails, 2 unresolved (too few records), 1 "
        f"error. Metrics: {', '.join(METRICS)}.",
    ),
]
GateBound = Annotated[
    str,
    typer.Option(
        "--bound",
        help="What --fail-if compares with the limit. both: both ends of the 95 % interval, "
        "unresolved where they disagree; upper (strict): fails unless shown to be within the "
        "limit; lower (lenient): fails only if shown to be beyond it; point: the value itself.",
    ),
]
Junit = Annotated[
    Path | None,
    typer.Option(
        "--junit",
        help="File to write the verdicts of --fail-if to, as JUnit XML.",
        dir_okay=False,
        callback=can_be_written,
    ),
]


def comma_separated(values: list[str] | None) -> tuple[str, ...]:
    """Return the names in repeated or comma-separated options."""
    return tuple(name for value in values or () for name in value.split(",") if name)


def machines(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given ones of the options `Executor`, `Mixed` and `TaskGpus`."""
    given = {name: arguments.get(name) for name in ("executor", "mixed", "task_gpus")}
    return {name: value for name, value in given.items() if value not in (None, False)}


def word_or_number(value: str) -> str | float:
    """Return an option's value as a number if it is one, else as a word."""
    try:
        return float(value)
    except ValueError:
        return value
