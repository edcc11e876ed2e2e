"""`selena report`: one report over runs that were attacked before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from selena.cli import options
from selena.cli.finish import finish
from selena.cli.gate import Gate
from selena.experiment import Results
from selena.store import RunFolder


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
    manifests = {path.name: RunFolder(path).manifest() for path in run_folders}
    settings = {name: manifest["settings"] for name, manifest in manifests.items()}
    timings = {name: manifest["timings"] for name, manifest in manifests.items()}
    results = Results(rows, settings, timings, {}, run_folders)
    verdicts = [
        verdict
        for row in rows
        for verdict in gate.judge(row, subject=f"{row['defense']}, seed {row['seed']}")
    ]
    console = Console()
    finish(console, results, out, json_out, title="Report", more=gate.to_json(verdicts), html=html)
    gate.conclude(console, verdicts, {"runs": ", ".join(map(str, run_folders))})
