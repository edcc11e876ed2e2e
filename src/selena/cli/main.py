"""The commands."""

from __future__ import annotations

import json
import logging
import shlex
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from selena.cli import options
from selena.cli.audit import audit_command
from selena.cli.export import export_command
from selena.cli.gate import Gate, verdicts_own_their_codes
from selena.cli.prepare import prepare_command
from selena.cli.progress import RichProgress
from selena.cli.reproduce import reproduce_app
from selena.cli.show import show_rows
from selena.cli.tracking import curves, log_to_mlflow, require_mlflow
from selena.config import override, read_toml
from selena.environment import describe_environment
from selena.errors import SelenaError
from selena.experiment import Results, collect, pieces, run
from selena.files import write_json
from selena.page import write_page
from selena.pipeline import DataSettings, RunSettings, attack, cases, train
from selena.store import RunFolder
from selena.version import __version__

app = typer.Typer(
    help="Train classifiers with membership privacy, attack them, report what leaks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

_RUNS = Path("runs")
# The demo's size: both models train and are attacked in under three minutes on two cores. It runs
# the quick attacks of each family, with fewer noisy copies.
_DEMO_MEMBERS, _DEMO_RECORDS = 2000, 10_000
_DEMO_ATTACKS = (
    "correctness",
    "confidence",
    "entropy",
    "modified_entropy",
    "flip_noise",
    "shadow_cross_entropy",
    "indirect_modified_entropy",
)
_DEMO_ATTACK_SETTINGS = {"flip_noise": {"flips": (1, 2, 4, 8, 16), "copies": 25}}


def main() -> None:
    """Run the command line; errors a user can mend become one line and an exit code."""
    with verdicts_own_their_codes(sys.argv[1:]):
        try:
            app()
        except SelenaError as error:
            Console(stderr=True).print(
                f"Error: {error}", style="red", markup=False, highlight=False, soft_wrap=True
            )
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            Console(stderr=True).print("Stopped. The same command goes on where this one stopped.")
            sys.exit(130)


@app.callback(invoke_without_command=True)
def common(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Log what the engine decides.")
    ] = False,
) -> None:
    """Train classifiers with membership privacy, attack them, report what leaks."""
    if version:
        print(__version__)
        raise typer.Exit
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("selena-demo"),
    seed: Annotated[int, typer.Option(help="Root of every random draw.")] = 0,
    json_out: options.Json = None,
) -> None:
    """Train an undefended and a SELENA-protected model on synthetic purchases, and attack both."""
    settings = RunSettings(
        data=DataSettings(size=_DEMO_RECORDS, members=_DEMO_MEMBERS),
        attacks=_DEMO_ATTACKS,
        attack_settings=_DEMO_ATTACK_SETTINGS,
        seeds=(seed,),
    )
    console = Console()
    console.print(
        f"{_DEMO_MEMBERS:,} synthetic shopping baskets train two classifiers: one as usual, one "
        "with SELENA. Then attackers guess who was in the training data."
    )
    results = run(settings, out / "runs", progress=RichProgress())
    _finish(console, results, out, json_out, title="Who was in the training data?")


@app.command("run")
def run_command(
    dataset: options.Dataset = None,
    data_dir: options.DataDir = None,
    size: options.Size = None,
    label_column: options.LabelColumn = None,
    members: options.Members = None,
    partition: options.Partition = None,
    defense: options.Defenses = None,
    attack_names: options.Attacks = None,
    seed: options.Seeds = None,
    selection: options.Selection = None,
    device: options.Device = None,
    workers: options.Workers = None,
    config: options.Config = None,
    runs: options.Runs = _RUNS,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.json, .md, .png and .html.")
    ] = None,
    json_out: options.Json = None,
    keep_submodels: options.KeepSubmodels = False,
    mlflow: Annotated[
        str | None,
        typer.Option(
            help="Log to this MLflow server or store; local: mlflow.db beside the run folders."
        ),
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder for training curves, for TensorBoard.")
    ] = None,
) -> None:
    """Train, attack and report, for every defense and seed."""
    settings = _settings(locals(), config)
    title = settings.data.dataset
    if mlflow:
        require_mlflow()
    with curves(tensorboard) as log:
        results = run(
            settings, runs, progress=RichProgress(), keep_submodels=keep_submodels, log=log
        )
    written = _finish(Console(), results, out, json_out, title=title)
    if mlflow:
        log_to_mlflow(results, mlflow, title=title, report=written)


@app.command("train")
def train_command(
    dataset: options.Dataset = None,
    data_dir: options.DataDir = None,
    size: options.Size = None,
    label_column: options.LabelColumn = None,
    members: options.Members = None,
    partition: options.Partition = None,
    defense: options.Defenses = None,
    seed: options.Seeds = None,
    selection: options.Selection = None,
    device: options.Device = None,
    workers: options.Workers = None,
    config: options.Config = None,
    runs: options.Runs = _RUNS,
    json_out: options.Json = None,
    keep_submodels: options.KeepSubmodels = False,
) -> None:
    """Train models into run folders and print where they are."""
    settings = _settings(locals(), config)
    trained: list[RunFolder] = []
    for each_seed in settings.seeds:
        workspace = pieces(runs, settings, RichProgress())
        for case in cases(settings, each_seed):
            trained.append(train(case, runs, workspace))
            print(trained[-1].path)
        if not keep_submodels:
            workspace.clear()
    if json_out:
        write_json(json_out, {str(folder.path): folder.manifest() for folder in trained})


@app.command("attack")
def attack_command(
    run_folders: Annotated[list[Path], typer.Argument(help="Run folders.", metavar="RUN...")],
    attack_names: options.Attacks = None,
    data_dir: options.DataDir = None,
    device: options.Device = None,
    workers: options.Workers = None,
    config: options.Config = None,
    json_out: options.Json = None,
) -> None:
    """Attack trained runs; finished attacks are found in the run folder."""
    settings = _settings(locals(), config)
    parents = {path.parent for path in run_folders}
    # One workspace for all runs of a folder: those of one seed share the attacker's Split-AI.
    workspaces = {p: pieces(p, settings, RichProgress()) for p in parents}
    found = []
    for path in run_folders:
        report = attack(
            RunFolder(path),
            settings.attacks,
            workspaces[path.parent],
            attack_settings=settings.attack_settings,
            data_dir=data_dir,
        )
        found.append((RunFolder(path), report))
    for workspace in workspaces.values():
        workspace.clear()
    _finish(Console(), collect(found), None, json_out, title="Audit")


@app.command("report")
def report_command(
    run_folders: Annotated[list[Path], typer.Argument(help="Run folders.", metavar="RUN...")],
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("report"),
    html: options.Html = None,
    json_out: options.Json = None,
    fail_if: options.FailIf = None,
    bound: options.GateBound = "both",
    junit: options.Junit = None,
) -> None:
    """Write one report over runs that were attacked; judge each of them by --fail-if."""
    gate = Gate.asked(fail_if, bound, junit)
    rows = [RunFolder(path).audit() for path in run_folders]
    settings = {path.name: RunFolder(path).manifest()["settings"] for path in run_folders}
    results = Results(rows, settings, {}, {}, run_folders)
    verdicts = [
        verdict
        for row in rows
        for verdict in gate.judge(row, subject=f"{row['defense']}, seed {row['seed']}")
    ]
    console = Console()
    _finish(console, results, out, json_out, title="Report", more=gate.to_json(verdicts), html=html)
    gate.conclude(console, verdicts, {"runs": ", ".join(map(str, run_folders))})


@app.command("env")
def env_command(
    json_out: options.Json = None,
) -> None:
    """Print versions, cores, instruction sets and devices, for bug reports."""
    description = describe_environment()
    print(json.dumps(description, indent=2))
    if json_out:
        write_json(json_out, description)


app.command("audit")(audit_command)
app.command("export")(export_command)
app.command("prepare")(prepare_command)
app.add_typer(reproduce_app, name="reproduce")


def _settings(arguments: dict[str, Any], config: Path | None) -> RunSettings:
    """Return the settings of a config file, with what the command line says on top."""
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
    }
    empty: tuple[Any, ...] = (None, (), {})
    return override(settings, {k: value for k, value in given.items() if value not in empty})


def _finish(
    console: Console,
    results: Results,
    out: Path | None,
    json_out: Path | None,
    *,
    title: str,
    more: Mapping[str, Any] | None = None,
    html: Path | None = None,
) -> list[Path]:
    """Print the table, write what was asked for (`more` into the JSON), return the files."""
    command = shlex.join(["selena", *sys.argv[1:]])
    show_rows(console, results.rows, title=title, seconds=results.family_seconds)
    written = results.write_report(out, title=title, command=command) if out else []
    for page in (out / "report.html" if out else None, html):
        if page:
            write_page(page, results, title=title, command=command)
            written.append(page)
    if json_out:
        write_json(json_out, {**results.to_json(command), **(more or {})})
        written.append(json_out)
    for path in written:
        console.print(f"Written: {path}")
    return written
