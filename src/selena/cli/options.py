"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from selena.auditing.conditions import METRICS
from selena.escaping import printable
from selena.registry import ATTACKS, DATASETS, DEFENSES, EVERY_FLIP, FAMILIES


def can_be_written(path: Path | None) -> Path | None:
    """Refuse a place where nothing can be written before any work is done for it."""
    if path is not None:
        there = next(each for each in (path, *path.absolute().parents) if each.exists())
        if (there != path and not there.is_dir()) or not os.access(there, os.W_OK):
            raise typer.BadParameter(f"{printable(str(there))} cannot be written to.")
    return path


Dataset = Annotated[
    str | None,
    typer.Option(
        help=f"One of {', '.join(DATASETS)}; or an .npz, .csv or .parquet file, or a folder or "
        ".tar.gz of images (default: purchase100-synthetic)."
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder that holds the data set's archive, instead of downloading it."),
]
Size = Annotated[int | None, typer.Option(help="Number of records of a synthetic set.")]
LabelColumn = Annotated[
    str | None,
    typer.Option(help="Label column of a .csv or .parquet file (default: label)."),
]
SubjectColumn = Annotated[
    str | None,
    typer.Option(
        help="Column of a .csv or .parquet file, or array of an .npz file, that says whose a "
        "record is, where several are of one person."
    ),
]
Members = Annotated[
    int | None, typer.Option(help="Training records of the target model (default: the set's own).")
]
Partition = Annotated[
    str | None,
    typer.Option(
        help="paper: sizes of the parts as in the paper (Purchase100, Texas100, CIFAR-100)."
    ),
]
Canaries = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Records to plant with a wrong label, a coin each into training, and to report apart "
        "(default: 0).",
    ),
]
CanaryKind = Annotated[
    str | None,
    typer.Option(
        help="mislabelled; twins: each that is trained on has a near copy; or grouped-twins: and "
        "the defense knows whose it is (default: mislabelled)."
    ),
]
Defenses = Annotated[
    list[str] | None,
    typer.Option(
        "--defense", help=f"What to train; may be repeated. Known: {', '.join(DEFENSES)}."
    ),
]
Attacks = Annotated[
    list[str] | None,
    typer.Option(
        "--attack",
        "--attacks",
        help="Attacks, repeated or separated by commas. Families: "
        f"{', '.join(FAMILIES)}. Single ones: {', '.join([*ATTACKS, EVERY_FLIP])}.",
    ),
]
Seeds = Annotated[
    list[int] | None, typer.Option("--seed", help="One whole repetition a seed; may be repeated.")
]
Selection = Annotated[
    str | None,
    typer.Option(
        help="Epoch of the weights: last, validation, or paper (the test set; flagged) "
        "(default: last)."
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ... (default: cpu).")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0, help="Processes that train an ensemble on CPUs; 0 for one a core (default: 0)."
    ),
]
Runs = Annotated[
    Path,
    typer.Option(
        help="Folder of run folders; finished work is found there.",
        file_okay=False,
        callback=can_be_written,
    ),
]
ReportFolder = Annotated[
    Path,
    typer.Option(help="Folder for the report.", file_okay=False, callback=can_be_written),
]
Json = Annotated[
    Path | None,
    typer.Option(
        "--json", help="Write the results here as JSON.", dir_okay=False, callback=can_be_written
    ),
]
Html = Annotated[
    Path | None,
    typer.Option(
        "--html",
        help="Write the report as one self-contained page here.",
        dir_okay=False,
        callback=can_be_written,
    ),
]
Config = Annotated[
    Path | None, typer.Option(help="TOML file of settings; options given here come first.")
]
KeepSubmodels = Annotated[
    bool, typer.Option("--keep-submodels", help="Keep Split-AI's sub-models in RUNS/artifacts.")
]
FailIf = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-if",
        help="Exit with 3 if this is so, as 'advantage>0.10' or 'tpr@fpr=1%>5%'; with 2 if the "
        f"records cannot tell, with 1 on an error. May be repeated. Metrics: {', '.join(METRICS)}.",
    ),
]
GateBound = Annotated[
    str,
    typer.Option(
        "--bound",
        help="What --fail-if compares: both ends of the 95 % interval (unresolved where they "
        "disagree), upper (strict: must be shown to be within the limit), lower (lenient: must be "
        "shown to be beyond it) or point (the value itself).",
    ),
]
Junit = Annotated[
    Path | None,
    typer.Option(
        "--junit",
        help="Write the verdicts of --fail-if as JUnit XML.",
        dir_okay=False,
        callback=can_be_written,
    ),
]


def comma_separated(values: list[str] | None) -> tuple[str, ...]:
    """Return the names in repeated or comma-separated options."""
    return tuple(name for value in values or () for name in value.split(",") if name)
