"""Golden cases: predictions from a file in, figures of the direct attacks out.

One was measured elsewhere and needs a file that is too large for this repository; the other is
small, always there, and checked against brute force written without this package.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from selena.attacks.neural import NeuralAttack
from selena.attacks.signal_attack import ThresholdAttack
from selena.attacks.signals import SIGNALS, SignalName
from selena.auditing.oracle import MeteredOracle
from selena.metrics import Summary, fit_class_thresholds, fit_threshold, summarize
from selena.types import Attack, MembershipSets, Records

SMALL = Path(__file__).parent / "golden" / "small.json"


@dataclass(frozen=True)
class Case:
    """Predictions by row; the oracle answers row numbers."""

    predictions: Tensor
    labels: Tensor
    member: Tensor
    known: Tensor

    @property
    def num_classes(self) -> int:
        return self.predictions.shape[1]

    def logits(self, x: Tensor) -> Tensor:
        return self.predictions[x[:, 0]]

    def records(self, rows: Tensor) -> Records:
        numbers = torch.nonzero(rows).squeeze(1)
        return Records(numbers[:, None], self.labels[numbers], numbers)

    def figures(self, attack: Attack, *, per_class: bool) -> Summary:
        known = MembershipSets(
            self.records(self.known & self.member), self.records(self.known & ~self.member)
        )
        scorer = attack.fit(MeteredOracle(self, "logits"), known, seed=1)
        fitting, truth = scorer.calibration.joined()
        scores = scorer.score(fitting).numpy()
        if per_class:
            y = fitting.y.numpy()
            rule = fit_class_thresholds(scores, truth.numpy(), y, self.num_classes)
        else:
            rule = fit_threshold(scores, truth.numpy())
        candidates = self.records(~self.known)
        scores, y = scorer.score(candidates).numpy(), candidates.y.numpy()
        return summarize(scores, rule.decide(scores, y), self.member[~self.known].numpy())


@pytest.fixture(scope="module")
def location30(shared: Callable[[str], Path]) -> Case:
    with np.load(shared("golden/location30_undefended.npz"), allow_pickle=False) as file:
        return Case(
            torch.from_numpy(file["probabilities"]).log(),
            torch.from_numpy(file["labels"]).long(),
            torch.from_numpy(file["member"]).bool(),
            torch.from_numpy(file["known"]).bool(),
        )


@pytest.mark.parametrize(
    ("signal", "one_threshold", "a_class", "auc"),
    [
        ("correctness", 0.687, 0.687, 0.687),
        ("confidence", 0.7415, 0.763, 0.8698),
        ("entropy", 0.6345, 0.6155, 0.8444),
        ("modified_entropy", 0.756, 0.780, 0.8711),
    ],
)
def test_published_model(
    location30: Case, signal: SignalName, one_threshold: float, a_class: float, auc: float
) -> None:
    attack = ThresholdAttack(signal)
    single = location30.figures(attack, per_class=False)
    assert single.balanced_accuracy == pytest.approx(one_threshold, abs=0.002)
    assert single.auc == pytest.approx(auc, abs=0.0005)
    unsort = location30.figures(attack, per_class=True)
    assert unsort.balanced_accuracy == pytest.approx(a_class, abs=0.002)


@pytest.mark.deep
def test_neural_attack_on_published_model(location30: Case) -> None:
    # 800 records give few steps an epoch: a higher rate stands in for the many of a real run.
    attack = NeuralAttack(epochs=25, batch_size=64, learning_rate=3e-4)
    figures = location30.figures(attack, per_class=False)
    assert figures.auc > 0.7
    assert figures.balanced_accuracy > 0.62


@pytest.fixture(scope="module")
def small() -> Case:
    rows = json.loads(SMALL.read_text())
    return Case(
        torch.tensor(rows["logits"], dtype=torch.float64),
        torch.tensor(rows["labels"]),
        torch.tensor(rows["member"]).bool(),
        torch.tensor(rows["known"]).bool(),
    )


def exact_score(signal: SignalName, logits: list[float], label: int) -> float:
    """The textbook formula in plain Python; ties are made exact by rounding to 12 digits."""
    powers = [math.exp(z - max(logits)) for z in logits]
    p = [power / math.fsum(powers) for power in powers]
    rest = [math.fsum(powers[:j] + powers[j + 1 :]) / math.fsum(powers) for j in range(len(p))]

    def log(q: float, complement: float) -> float:
        return math.log(q) if q < 0.5 else math.log1p(-complement)

    log_p = [log(p[j], rest[j]) for j in range(len(p))]
    log_rest = [log(rest[j], p[j]) for j in range(len(p))]
    score = {
        "correctness": float(logits.index(max(logits)) == label),
        "confidence": log_p[label] - log_rest[label],
        "entropy": math.fsum(p[j] * log_p[j] for j in range(len(p))),
        "modified_entropy": rest[label] * log_p[label]
        + math.fsum(p[j] * log_rest[j] for j in range(len(p)) if j != label),
    }[signal]
    return float(f"{score:.12g}")


def best_threshold(rows: list[tuple[float, bool]]) -> float:
    """Try every observed score, lowest first, by counting all rows."""
    members = sum(member for _, member in rows)

    def advantage(t: float) -> Fraction:
        hits = sum(member and score >= t for score, member in rows)
        alarms = sum(not member and score >= t for score, member in rows)
        return Fraction(hits, members) - Fraction(alarms, len(rows) - members)

    return max(sorted(score for score, _ in rows), key=advantage)


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("per_class", [False, True])
def test_small_case_against_brute_force(small: Case, signal: SignalName, per_class: bool) -> None:
    columns = (small.predictions, small.labels, small.member, small.known)
    rows = [
        (exact_score(signal, logits, label), label, member, known)
        for logits, label, member, known in zip(*(c.tolist() for c in columns), strict=True)
    ]
    thresholds = [
        best_threshold([(s, m) for s, y, m, k in rows if k and (y == label or not per_class)])
        for label in range(small.num_classes)
    ]
    scored = [(s, s >= thresholds[y], m) for s, y, m, k in rows if not k]
    members = [(s, decision) for s, decision, m in scored if m]
    others = [(s, decision) for s, decision, m in scored if not m]
    wins = sum((a > b) + (a == b) / 2 for a, _ in members for b, _ in others)
    allowed = len(others) // 10

    figures = small.figures(ThresholdAttack(signal), per_class=per_class)

    assert figures.tpr == pytest.approx(sum(d for _, d in members) / len(members), abs=1e-12)
    assert figures.fpr == pytest.approx(sum(d for _, d in others) / len(others), abs=1e-12)
    assert figures.auc == pytest.approx(wins / len(members) / len(others), abs=1e-12)
    best = max(
        [0]
        + [
            sum(s >= t for s, _ in members)
            for t, _ in members
            if sum(s >= t for s, _ in others) <= allowed
        ]
    )
    assert figures.tpr_at_fpr[0.1].tpr == pytest.approx(best / len(members), abs=1e-12)
    assert figures.tpr_at_fpr[0.1].allowed_false_positives == allowed
