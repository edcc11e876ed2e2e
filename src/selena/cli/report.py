"""`selena report`: one report on runs that were attacked before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from selena.cli import options
from selena.cli.gate import Gate
from selena.cli.show import finish, wide_console
from selena.experiments.results import read_results
from selena.experiments.store import RunFolder


def report_command(
    run_folders: Annotated[list[Path], typer.Argument(help="Run folders.", metavar="RUN...")],
    out: options.ReportFolder = Path("report"),
    html: options.Html = None,
    json_out: options.Json = None,
    fail_if: options.FailIf = None,
    bound: options.GateBound = "both",
    junit: options.Junit = None,
) -> None:
    """Write one report on runs that were attacked; --fail-if judges each of them."""
    gate = Gate.asked(fail_if, bound, junit)
    results = read_results(run_folders)
    verdicts = [
        verdict
        for row, path in zip(results.rows, run_folders if gate.conditions else (), strict=False)
        for verdict in gate.judge(
            RunFolder(path).report(),
            subject=f"{row['defense']}, seed {row['seed']}",
            audits=len(run_folders),
        )
    ]
    console = wide_console(json_out, html, junit)
    finish(
        console,
        results,
        out,
        json_out,
        title="Report",
        more=gate.to_json(verdicts),
        html=html,
        also=lambda: gate.write(verdicts, {"runs": ", ".join(map(str, run_folders))}),
    )
    gate.conclude(console, verdicts)
