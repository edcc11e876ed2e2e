"""Reports made of scores alone: what an audit of some model would have scored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from selena.auditing.report import Accuracy, AuditReport
from selena.auditing.results import AttackResult, AuditSetup, attack_result
from selena.auditing.scoring import AttackScores, Scored
from selena.types import Access, Family

SETUP = AuditSetup(num_classes=4, seed=0)


def scored(
    scores: Float[np.ndarray, " n"] | Sequence[float],
    truth: Bool[np.ndarray, " n"] | Sequence[bool],
) -> Scored:
    """Scores of records whose classes and numbers do not matter."""
    n = len(truth)
    return Scored(np.array(scores, np.float64), np.array(truth), np.arange(n) % 4, np.arange(n))


def levels(members: Sequence[int], non_members: Sequence[int]) -> Scored:
    """Members and non-members by how many of them score 0, 1, 2 and so on."""
    values = np.concatenate([np.repeat(np.arange(len(c)), c) for c in (members, non_members)])
    return scored(values, np.arange(len(values)) < sum(members))


def attack(
    name: str,
    known: Scored,
    evaluation: Scored | None = None,
    *,
    family: Family = "direct",
    access: Access = "logits",
    canaries: Scored | None = None,
    setup: AuditSetup = SETUP,
) -> AttackResult:
    """What an attack achieved that asked one query per record; by default both sides alike."""
    evaluation = evaluation or known
    records = len(known.truth) + len(evaluation.truth) + (len(canaries.truth) if canaries else 0)
    found = AttackScores(known, evaluation, len(known.truth), records, 0.0, canaries)
    return attack_result(name, family, access, {}, found, setup)


def report(*attacks: AttackResult, test: float = 0.8, setup: AuditSetup = SETUP) -> AuditReport:
    """The report of these attacks on a model that is right for all of 1,000 members."""
    return AuditReport(
        Accuracy.of(1000, 1000, 1000),
        Accuracy.of(round(test * 1000), 1000, 1000),
        {each.name: each for each in attacks},
        setup,
        {"records": "5" * 24, "version": "0"},
    )
