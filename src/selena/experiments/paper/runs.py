"""Does the work of a plan: every item trained and attacked, or found in the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

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
                before, audited = kept_audit(folder), folder.audited()
                report = attack(
                    folder,
                    item.attacks,
                    workspace,
                    attack_settings=task.scale.attack_settings,
                    data_dir=task.data_dir,
                )
                if before.get("attacks", {}).items() >= folder.audit()["attacks"].items():
                    folder.save_audited(audited)  # the same and more: nothing found is forgotten
                found.append((folder, report))
                tell(f"{item.label}: {_news(report)}")
                bar.advance()
            workspace.clear()
    return found


def kept_audit(folder: RunFolder) -> dict[str, Any]:
    """Return the folder's audit, empty where it was not attacked yet."""
    try:
        return folder.audit()
    except StoreError:
        return {}


def _news(report: AuditReport) -> str:
    attacks = ", ".join(
        f"{family} {percent(report.figure('balanced_accuracy', family).value)}"
        for family in report.families
    )
    return f"test accuracy {percent(report.test_accuracy.value)}, attacks: {attacks}"
