"""Does the work of a plan: every item trained and attacked, or found in the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from selena.auditing.report import AuditReport
from selena.errors import StoreError
from selena.experiments.paper.task import Item, PaperTask
from selena.experiments.pipeline import attack, train
from selena.experiments.results import make_workspace
from selena.experiments.store import RunFolder
from selena.experiments.whole_runs import Wanted, fetch_runs
from selena.reports.table import percent
from selena.workspace import Progress, Silent, check_device

Tell = Callable[[str], object]
"""Told one line of news after each finished artifact of work."""

Found = list[tuple[RunFolder, AuditReport]]


def run_items(
    items: Sequence[Item],
    task: PaperTask,
    runs: Path,
    *,
    progress: Progress | None = None,
    tell: Tell = lambda news: None,
) -> Found:
    """Train and attack all items, in order; killed work goes on when it is asked for again.

    Sub-models and checkpoints live in `runs`/artifacts until their bundle is done.
    """
    check_device(task.device)
    found: Found = []
    progress = progress or Silent()
    settings = task.settings([items[0].case.defense])
    wanted = [Wanted(item.case, item.attacks, settings.attack_settings) for item in items]
    fetch_runs(wanted, runs, make_workspace(runs, settings, progress))
    with progress.step("Models", len(items)) as bar:
        for _, bundle in groupby(items, key=lambda item: item.bundle):
            workspace = make_workspace(runs, settings, progress)
            for item in bundle:
                folder = train(item.case, runs, workspace)
                before, audited = _last_report(folder), folder.audited()
                report = attack(
                    folder,
                    item.attacks,
                    workspace,
                    attack_settings=task.scale.attack_settings,
                    data_dir=task.data_dir,
                )
                if before is not None and _holds(before, report):
                    folder.save_audited(audited)  # the same and more: nothing found is forgotten
                found.append((folder, report))
                tell(f"{item.label}: {_news(report)}")
                bar.advance()
            workspace.clear()
    return found


def _last_report(folder: RunFolder) -> AuditReport | None:
    """Return the folder's report, None where it was not attacked yet or is damaged."""
    try:
        return folder.report()
    except StoreError:
        return None


def _holds(before: AuditReport, now: AuditReport) -> bool:
    """Return whether every attack of `now` is in `before` with the same figures."""
    old = before.attacks
    return all(
        name in old and old[name].to_json() == result.to_json()
        for name, result in now.attacks.items()
    )


def _news(report: AuditReport) -> str:
    attacks = ", ".join(
        f"{family} {percent(report.figure('balanced_accuracy', family).value)}"
        for family in report.families
    )
    return f"test accuracy {percent(report.test_accuracy.value)}, attacks: {attacks}"
