"""Small audits and verdicts for the tests of the gate."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from selena.attacks.signal_attack import ThresholdAttack
from selena.auditing.conditions import parse_condition
from selena.auditing.gate import Bound, ConditionResult, Measurement
from selena.auditing.predictions import Predictions
from selena.auditing.report import AuditReport
from selena.auditing.run import run_audit


def predictions(n: int, leak: float) -> Predictions:
    """Predictions of a model whose logits of members are higher by `leak`."""
    generator = np.random.default_rng(0)
    member = np.arange(n) % 2 == 0
    labels = generator.integers(0, 3, n)
    logits = generator.normal(size=(n, 3))
    logits[np.arange(n), labels] += np.where(member, leak, 0.0)
    p = np.exp(logits)
    return Predictions(p / p.sum(axis=1, keepdims=True), labels, member, np.arange(n) < n // 2)


def write_npz(path: Path, table: Predictions) -> None:
    """Write predictions as `selena audit --predictions` reads them."""
    np.savez(path, **{name: array for name, array in vars(table).items() if array is not None})


@cache
def audited(n: int, leak: float) -> AuditReport:
    """An audit by two attacks; equal arguments give one object."""
    table = predictions(n, leak)
    attacks = [ThresholdAttack("confidence"), ThresholdAttack("modified_entropy")]
    return run_audit(table, table.split(), attacks, seed=0)


def verdict(
    text: str,
    low: float,
    value: float,
    high: float,
    bound: Bound = "both",
    *,
    subject: str = "",
    source: str = "direct attack confidence/global",
    needed: int | None = None,
    inputs: Mapping[str, str] | None = None,
) -> ConditionResult:
    """A verdict on a made-up figure of 100 members and 100 non-members."""
    n = {"members": 100, "non_members": 100}
    measured = Measurement(source, value, (low, high), n, needed)
    return ConditionResult(parse_condition(text), bound, measured, subject, inputs or {})
