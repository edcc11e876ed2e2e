"""Conditions other than settings and seed that a run's bytes depend on, kept and compared later."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from selena.environment.processor import numeric_environment
from selena.training.executor import worker_count, worker_threads
from selena.workspace import Workspace

_NOTE = "numeric-settings"
_LOG = logging.getLogger(__name__)


def numeric_settings(workspace: Workspace) -> dict[str, Any]:
    """Return the conditions in `workspace` that results depend on besides settings and seed."""
    return {
        **numeric_environment(workspace.device),
        "worker_threads": worker_threads(worker_count(workspace)),
        "cohort_size": workspace.cohort_size,
        **({"mixed": sorted(workspace.shared.get("mixed", ()))} if workspace.mixed else {}),
    }


def report_numeric_differences(path: Path, before: Mapping[str, Any], workspace: Workspace) -> None:
    """Log one line if the finished run at `path` was made where sums round differently."""
    differing = _difference(before, numeric_settings(workspace))
    if differing:
        _LOG.warning(
            "%s was trained under other conditions (%s). Its model is used unchanged, and attacks "
            "run under the current conditions. To train under these, give another folder for runs.",
            path,
            differing,
        )


def note_numeric_settings(workspace: Workspace) -> None:
    """Record the conditions of the artifacts in `workspace`; warn if they have changed.

    Artifacts made under other conditions have other names, so they are trained again, never mixed.
    """
    now = numeric_settings(workspace)
    kept = workspace.load(_NOTE)
    if kept is not None:
        differing = _difference(json.loads(bytes(kept["json"].tolist())), now)
        if differing:
            _LOG.warning(
                "Unfinished work in %s was started under other conditions (%s), so it is repeated. "
                "To reuse it, run under the same conditions.",
                workspace.folder,
                differing,
            )
    workspace.save(_NOTE, {"json": torch.tensor(list(json.dumps(now).encode()))})


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(f"{name} was {before.get(name)!r}, is {now.get(name)!r}" for name in names)
