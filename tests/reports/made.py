"""Audits of made-up models whose leak is known, to make pages of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Shaped
from torch import Tensor

from selena.attacks.signal_attack import ThresholdAttack
from selena.auditing.predictions import Predictions
from selena.auditing.report import AuditReport
from selena.auditing.run import run_audit
from selena.experiments.manifest import CaseSettings, DataIdentity, Manifest, Timings
from selena.experiments.store import RunFolder
from selena.reports.runs import Run, run_of_audit
from selena.workspace import Workspace

CLASSES = 4
TODAY = date(2026, 1, 31)
HOSTILE = "</script><img src=x onerror=alert(1)>&<b>b\u2028\x1b[31m\"'%{x}"


@dataclass(frozen=True, eq=False)
class Stored:
    """A table of predictions as a stored model, so that its scores are kept."""

    table: Predictions

    @property
    def num_classes(self) -> int:
        return self.table.num_classes

    def logits(self, x: Shaped[Tensor, "n 1"]) -> Float64[Tensor, "n c"]:
        return self.table.logits(x)

    def state(self) -> dict[str, Tensor]:
        return {"p": torch.from_numpy(self.table.probabilities)}


def predictions(leak: float, *, seed: int = 0) -> Predictions:
    """Return predictions more confident on members by `leak`; half of the records are known."""
    n = 800
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % CLASSES
    member = generator.random(n) < 0.5
    sure = generator.normal(1.0, 1.0, n) + leak * member
    logits = np.zeros((n, CLASSES))
    logits[np.arange(n), labels] = sure
    p = np.exp(logits)
    return Predictions(
        p / p.sum(axis=1, keepdims=True), labels, member, np.arange(n) // CLASSES % 2 == 0
    )


def report(leak: float, *, seed: int = 0, kept: Workspace | None = None) -> AuditReport:
    """Audit such predictions by two direct attacks."""
    table = predictions(leak, seed=seed)
    attacks = [ThresholdAttack("confidence"), ThresholdAttack("correctness")]
    return run_audit(Stored(table), table.split(), attacks, seed=seed, kept_scores=kept)


@cache
def run(name: str = "undefended", leak: float = 1.0, *, seed: int = 0) -> Run:
    """Return such an audit as a run with its scores; never change it."""
    return run_of_audit(report(leak, seed=seed), name=name, dataset="toy", seed=seed)


def runs(seeds: Sequence[int] = (0,)) -> list[Run]:
    """Return a leaking and a tight model, with each seed."""
    leaks = {"undefended": 1.5, "selena": 0.0}
    return [run(name, leak, seed=seed) for name, leak in leaks.items() for seed in seeds]


def folder(path: Path, leak: float = 1.5, *, name: str = "undefended") -> RunFolder:
    """Write a run folder as `selena run` leaves it, without a model that could be attacked."""
    kept = Workspace(folder=path / "scores")
    found = report(leak, kept=kept)
    run_folder = RunFolder(path)
    run_folder.save_model({"p": torch.zeros(1)}, manifest_of(name))
    run_folder.save_audit(found, kept.touched)
    return run_folder


def manifest_of(name: str) -> Manifest:
    """Return what a manifest says of a run of the defense `name`."""
    return Manifest(
        CaseSettings({}, name, seed=0, selection="last", plan={}, defense_settings={}),
        DataIdentity("toy", 800, CLASSES, sha256="", source="made up", synthetic=False),
        partition={},
        split={},
        selected_on_evaluation=False,
        timings=Timings(1.5),
    )


def plain(value: Any) -> Any:
    """Return a deep copy of a row that may be changed."""
    return json.loads(json.dumps(value))
