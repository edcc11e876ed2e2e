"""`selena reproduce`: the paper's table and figures, planned, run and written."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from selena.cli import options
from selena.cli.guards import keeps_work_in
from selena.cli.progress import RichProgress
from selena.cli.show import show_written, wide_console
from selena.experiments.paper import ablation, figure4, table2, worst_case
from selena.experiments.paper.budget import PlanLine, Speed, calibrate, total
from selena.experiments.paper.document import Document
from selena.experiments.paper.task import PaperTask, scale_named
from selena.files.escaping import printable
from selena.reports.console import literal
from selena.workspace import Machines

reproduce_app = typer.Typer(
    help="Reproduce the paper's table and figures, next to the published ones.",
    add_completion=False,
    no_args_is_help=True,
)

Dataset = Annotated[
    str,
    typer.Option(
        help="Name of a data set (see `selena list datasets`), or a file or folder of records."
    ),
]
ScaleName = Annotated[
    str,
    typer.Option(
        help="quick (minutes; fewer records and networks) or paper (the paper's protocol)."
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        help="Folder for the table or figure and its data.",
        file_okay=False,
        callback=options.can_be_written,
    ),
]
Runs = Annotated[
    Path, typer.Option(help="Folder for run folders. Finished work found there is reused.")
]
Device = Annotated[str, typer.Option(help="Where networks train: cpu, cuda, cuda:1, ...")]
Seed = Annotated[int, typer.Option(help="Random seed.")]
PlanOnly = Annotated[
    bool, typer.Option("--plan", help="Print the plan and its estimated time, and stop.")
]

_RUNS, _OUT = Path("runs"), Path("reproduction")


@reproduce_app.command("table2")
def table2_command(
    dataset: Dataset = "purchase100-synthetic",
    scale: ScaleName = "quick",
    seeds: Annotated[int, typer.Option(min=1, help="Number of runs, with the seeds 0, 1, ...")] = 1,
    runs: Runs = _RUNS,
    out: Out = _OUT,
    data_dir: options.DataDir = None,
    device: Device = "cpu",
    executor: options.Executor = None,
    mixed: options.Mixed = False,
    task_gpus: options.TaskGpus = None,
    plan_only: PlanOnly = False,
) -> None:
    """Table 2: four defenses against direct, label-only and adaptive attacks."""
    machines = Machines(**options.machines(locals()))
    task = PaperTask(dataset, scale_named(scale), tuple(range(seeds)), data_dir, device, machines)
    _reproduce(task, table2.plan, table2.run, runs, out, plan_only)


def _figure_command(figure: Any) -> Callable[..., None]:
    """Return the command that draws a figure of one seed; `figure` plans it and runs it."""

    def command(
        dataset: Dataset = "purchase100-synthetic",
        scale: ScaleName = "quick",
        seed: Seed = 0,
        runs: Runs = _RUNS,
        out: Out = _OUT,
        data_dir: options.DataDir = None,
        device: Device = "cpu",
        executor: options.Executor = None,
        mixed: options.Mixed = False,
        task_gpus: options.TaskGpus = None,
        plan_only: PlanOnly = False,
    ) -> None:
        machines = Machines(**options.machines(locals()))
        task = PaperTask(dataset, scale_named(scale), (seed,), data_dir, device, machines)
        _reproduce(task, figure.plan, figure.run, runs, out, plan_only)

    return command


reproduce_app.command(
    "figure4", help="Figure 4: every epoch of an undefended run against SELENA's two levels."
)(_figure_command(figure4))
reproduce_app.command(
    "ablation",
    help="Ablation: SELENA with other numbers of sub-models (K) and of non-models per record (L).",
)(_figure_command(ablation))


@reproduce_app.command("worst-case")
def worst_case_command(
    dataset: Dataset = "purchase100-synthetic",
    scale: ScaleName = "quick",
    seeds: Annotated[int, typer.Option(min=1, help="Number of runs, with the seeds 0, 1, ...")] = 1,
    defense: Annotated[
        list[str] | None,
        typer.Option(
            help="Defense to compare; repeat the option for several (default: "
            f"{', '.join(worst_case.DEFENSES)})."
        ),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Accuracy that every defense is tuned for, such as 0.45 (default: two points "
            "below the undefended model).",
        ),
    ] = None,
    runs: Runs = _RUNS,
    out: Out = _OUT,
    data_dir: options.DataDir = None,
    device: Device = "cpu",
    executor: options.Executor = None,
    task_gpus: options.TaskGpus = None,
    plan_only: PlanOnly = False,
) -> None:
    """Worst case: every defense at one accuracy against the records that are hardest to hide."""
    machines = Machines(**options.machines(locals()))
    task = PaperTask(dataset, scale_named(scale), tuple(range(seeds)), data_dir, device, machines)
    names = options.comma_separated(defense) or worst_case.DEFENSES
    worst = worst_case.WorstCase(task, worst_case.SIZES[task.scale.name], names, target)
    plan, run = (partial(_given, do, worst) for do in (worst_case.plan, worst_case.run))
    _reproduce(task, plan, run, runs, out, plan_only, worst.sizes.plan)


def _given(
    do: Callable[..., Any], worst: worst_case.WorstCase, task: PaperTask, *rest: Any, **named: Any
) -> Any:
    """Plan or run the worst case."""
    return do(worst, *rest, **named)


def _reproduce(
    task: PaperTask,
    plan: Callable[[PaperTask, Path], list[PlanLine]],
    run: Callable[..., Document],
    runs: Path,
    out: Path,
    plan_only: bool,
    changes: Mapping[str, Any] | None = None,
) -> None:
    keeps_work_in(runs)
    console = wide_console()
    progress = RichProgress()
    task.load(progress)
    lines = plan(task, runs)
    _show_plan(console, lines, calibrate(task, total(lines), changes))
    if plan_only:
        return
    start = time.monotonic()

    def tell(news: str) -> None:
        # `print`, because Rich shows its output above a running bar.
        print(f"{(time.monotonic() - start) / 60:6.1f} min  {printable(news)}", flush=True)

    command = shlex.join(["selena", *sys.argv[1:]])
    document = run(task, runs, command=command, progress=progress, tell=tell)
    _show(console, document)
    for path in document.write(out, command):
        show_written(console, path)


def _show_plan(console: Console, lines: Sequence[PlanLine], speed: Speed) -> None:
    table = Table(title="Plan", box=None, padding=(0, 2, 0, 0))
    table.add_column("Model")
    for heading in ("Networks", "Steps", "Attack networks", "Time"):
        table.add_column(heading, justify="right")
    table.add_column("Found")
    for line in [*lines, PlanLine("all", total(lines))]:
        work = line.work
        counts = (work.networks, work.steps, work.attack_networks)
        seconds = duration(speed.seconds(work))
        table.add_row(line.label, *(f"{count:,}" for count in counts), seconds, line.found)
    console.print(table)
    console.print(
        "Time is that of the training, estimated from a few steps on this machine; queries of "
        "attacks come on top. A command that was stopped continues from its last "
        "checkpoint when you run it again."
    )


def _show(console: Console, document: Document) -> None:
    table = Table(title=literal(document.title), box=None, leading=1, padding=(0, 1, 0, 0))
    for title in document.table.titles:
        table.add_column(title)
    for line in document.table.lines:
        table.add_row(*(f"{literal(cell.text) or ' '}\n{literal(cell.spread)}" for cell in line))
    console.print(table)
    for note in document.notes:
        console.print(note, markup=False, highlight=False)


def duration(seconds: float) -> str:
    """Return a time in words, rounded like an estimate."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
