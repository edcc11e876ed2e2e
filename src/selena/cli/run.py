"""`selena run`, and its two halves: `selena train` and `selena attack`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from selena.cli import options
from selena.cli.guards import keeps_work_in
from selena.cli.progress import RichProgress
from selena.cli.show import finish, wide_console
from selena.config import merged, override, read_toml
from selena.experiments.pipeline import (
    Case,
    DataSettings,
    RunSettings,
    attack,
    cases,
    check_settings,
    train,
)
from selena.experiments.results import collect, make_workspace, run
from selena.experiments.store import RunFolder
from selena.experiments.whole_runs import Wanted, fetch_runs
from selena.files.escaping import shown_path
from selena.files.writing import write_json
from selena.reports.results import Results
from selena.workspace import TrainingLog, check_device

_RUNS = Path("runs")


def run_command(
    dataset: options.Dataset = None,
    data_dir: options.DataDir = None,
    size: options.Size = None,
    label_column: options.LabelColumn = None,
    subject_column: options.SubjectColumn = None,
    n_members: options.NMembers = None,
    partition: options.Partition = None,
    canaries: options.Canaries = None,
    canary_kind: options.CanaryKind = None,
    canary_distance: options.CanaryDistance = None,
    defense: options.Defenses = None,
    attack_names: options.Attacks = None,
    seed: options.Seeds = None,
    selection: options.Selection = None,
    n_submodels: options.NSubmodels = None,
    n_nonmodels: options.NNonmodels = None,
    near_duplicates: options.NearDuplicates = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    learning_rate: options.LearningRate = None,
    device: options.Device = None,
    workers: options.Workers = None,
    executor: options.Executor = None,
    mixed: options.Mixed = False,
    task_gpus: options.TaskGpus = None,
    config: options.Config = None,
    runs: options.Runs = _RUNS,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the report: report.md, .json, .png and .html.",
            file_okay=False,
            callback=options.can_be_written,
        ),
    ] = None,
    json_out: options.Json = None,
    keep_submodels: options.KeepSubmodels = False,
    mlflow: Annotated[
        str | None,
        typer.Option(
            help="MLflow server or store to log to; local: mlflow.db next to the run folders."
        ),
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder for training curves, which TensorBoard shows.")
    ] = None,
) -> None:
    """Train, attack and report, for every defense and seed."""
    settings = _settings(locals(), config)
    title = settings.data.dataset
    if mlflow:
        require_mlflow()
    keeps_work_in(runs)
    with curves(tensorboard) as log:
        results = run(
            settings, runs, progress=RichProgress(), keep_submodels=keep_submodels, log=log
        )
    written = finish(wide_console(json_out), results, out, json_out, title=title)
    if mlflow:
        log_to_mlflow(results, mlflow, title=title, report=written)


def train_command(
    dataset: options.Dataset = None,
    data_dir: options.DataDir = None,
    size: options.Size = None,
    label_column: options.LabelColumn = None,
    subject_column: options.SubjectColumn = None,
    n_members: options.NMembers = None,
    partition: options.Partition = None,
    canaries: options.Canaries = None,
    canary_kind: options.CanaryKind = None,
    canary_distance: options.CanaryDistance = None,
    defense: options.Defenses = None,
    seed: options.Seeds = None,
    selection: options.Selection = None,
    n_submodels: options.NSubmodels = None,
    n_nonmodels: options.NNonmodels = None,
    near_duplicates: options.NearDuplicates = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    learning_rate: options.LearningRate = None,
    device: options.Device = None,
    workers: options.Workers = None,
    executor: options.Executor = None,
    mixed: options.Mixed = False,
    task_gpus: options.TaskGpus = None,
    config: options.Config = None,
    runs: options.Runs = _RUNS,
    json_out: options.Json = None,
    keep_submodels: options.KeepSubmodels = False,
) -> None:
    """Train models into run folders and print the folders."""
    settings = _settings(locals(), config)
    keeps_work_in(runs)
    progress = RichProgress()
    check_settings(settings, progress)
    trained: list[RunFolder] = []
    if not keep_submodels:
        wanted = [Wanted(case, (), {}) for seed in settings.seeds for case in cases(settings, seed)]
        fetch_runs(wanted, runs, make_workspace(runs, settings, progress))
    for each_seed in settings.seeds:
        workspace = make_workspace(runs, settings, progress)
        for case in cases(settings, each_seed):
            with progress.step(f"{case.defense}, seed {case.seed}", 1):
                trained.append(train(case, runs, workspace))
            print(shown_path(trained[-1].path), flush=True)
        if not keep_submodels:
            workspace.clear()
    if json_out:
        write_json(json_out, {str(folder.path): folder.manifest().to_json() for folder in trained})


def attack_command(
    run_folders: Annotated[
        list[Path],
        typer.Argument(
            help="Run folders. `selena report` then shows these attacks, and no earlier ones.",
            metavar="RUN...",
        ),
    ],
    attack_names: options.Attacks = None,
    data_dir: options.DataDir = None,
    device: options.Device = None,
    workers: options.Workers = None,
    executor: options.Executor = None,
    mixed: options.Mixed = False,
    task_gpus: options.TaskGpus = None,
    config: options.Config = None,
    json_out: options.Json = None,
    keep_submodels: options.KeepSubmodels = False,
) -> None:
    """Attack trained runs; attacks that finished before are reused."""
    settings = _settings(locals(), config)
    check_device(settings.device)
    keeps_work_in(Path(os.path.commonpath([path.absolute().parent for path in run_folders])))
    parents = {path.parent for path in run_folders}
    # One workspace per parent folder: runs of one seed share the attacker's Split-AI.
    progress = RichProgress()
    workspaces = {p: make_workspace(p, settings, progress) for p in parents}
    found = []
    for path in run_folders:
        with progress.step(path.name, 1):
            report = attack(
                RunFolder(path),
                settings.attacks,
                workspaces[path.parent],
                attack_settings=settings.attack_settings,
                data_dir=settings.data.data_dir,
            )
        found.append((RunFolder(path), report))
    if not keep_submodels:
        for workspace in workspaces.values():
            workspace.clear()
    finish(wide_console(json_out), collect(found), None, json_out, title="Audit")


def _settings(arguments: dict[str, Any], config: Path | None) -> RunSettings:
    """Return the settings of a config file, with the options of the command line on top."""
    settings = override(RunSettings(), read_toml(config) if config else {})
    data = {f.name: arguments.get(f.name) for f in fields(DataSettings)}
    given = {
        "data": {name: value for name, value in data.items() if value is not None},
        "defenses": options.comma_separated(arguments.get("defense")),
        "attacks": options.comma_separated(arguments.get("attack_names")),
        "seeds": tuple(arguments.get("seed") or ()),
        "selection": arguments.get("selection"),
        "device": arguments.get("device"),
        "workers": arguments.get("workers"),
        "machines": options.machines(arguments),
    }
    empty: tuple[Any, ...] = (None, (), {})
    given = {name: value for name, value in given.items() if value not in empty}
    return override(settings, {**given, "plan": merged(settings.plan, _plan(arguments))})


_RECIPE = ("epochs", "batch_size", "learning_rate")


def _plan(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the changes to the plan that options ask for.

    `--epochs` and its like set the training of every classifier, the student's distillation and
    the attacker's own Split-AI included; a TOML file can set each by itself.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    recipe = {name: given[name] for name in _RECIPE if name in given}
    plan: dict[str, Any] = {
        name: given[name] for name in ("n_submodels", "n_nonmodels") if name in given
    }
    if "near_duplicates" in given:
        plan["near_duplicates"] = options.word_or_number(given["near_duplicates"])
    if recipe:
        plan |= {"training": recipe, "distillation": recipe}
    if "epochs" in recipe:
        plan["shadow_epochs"] = None  # as those of plan.training
    return plan


@contextmanager
def curves(folder: Path | None) -> Iterator[Callable[[Case], TrainingLog] | None]:
    """Yield a function from a case to its TensorBoard log in `folder`; None without a folder."""
    if folder is None:
        yield None
        return
    from selena.tracking.tensorboard import TensorBoardLog

    with TensorBoardLog(folder) as log:
        yield lambda case: log.under(
            f"{Path(case.data.dataset).stem}-{case.defense}-seed{case.seed}"
        )


def require_mlflow() -> None:
    """Raise `ConfigError` if MLflow is not installed; call it before training."""
    from selena.tracking.mlflow import import_mlflow

    import_mlflow()


def log_to_mlflow(results: Results, uri: str, *, title: str, report: Sequence[Path]) -> None:
    """Log finished runs to MLflow."""
    from selena.tracking.mlflow import log_results

    log_results(results, uri, title=title, report=report)
