"""Figures of LiRA and RMIA on a pool of models, with each model in turn as the target.

The reference models of a target are all other models except its complement. So half of them trained
on a record, regardless of the target's coins.

An interval combines the outer ends of two intervals. One treats pairs of a model and a record as
independent, and includes the uncertainty of the threshold. The other resamples records, since some
records are exposed by every model. With few models both together cover 95 %, which resampling alone
does not (tests/experiments/test_worst_case.py). With 64 models and records of very unequal
difficulty they may cover less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from torch import Tensor

from selena.attacks.reference_scores import lira_scores, rmia_scores
from selena.data.audit_pool import KINDS
from selena.experiments.paper.worst_case_pool import Arena, PoolAnswers
from selena.metrics.intervals import Interval, auc_interval
from selena.metrics.low_fpr import needed_non_members, tpr_at_fpr
from selena.metrics.one_run import gaussian_epsilon_lower_bound
from selena.metrics.roc import roc_curve
from selena.seeding import child_seed, numpy_generator

ATTACKS: dict[str, Callable[..., Float64[np.ndarray, " n"]]] = {
    "lira": lira_scores,
    "rmia": rmia_scores,
}
FPRS = (0.001, 0.01, 0.05, 0.1)
DELTA = 1e-5
_RESAMPLES = 200


@dataclass(frozen=True)
class KindFigures:
    """What one attack finds of one kind of record, over all pairs of a model and a record.

    Attributes:
        auc: area under the ROC curve, with its 95 % interval.
        tpr: TPR at `fpr`, with its 95 % interval.
        fpr: the false-positive rate, in (0, 1].
        records: number of records.
        models: number of models.
        members_scored: number of pairs whose model trained on the record.
        non_members_scored: number of the other pairs.
        epsilon_median: median over models of the epsilon that a model alone proves (for the
            Gaussian trade-off curve).
    """

    auc: float
    auc_interval: Interval
    tpr: float
    tpr_interval: Interval
    fpr: float
    records: int
    models: int
    members_scored: int
    non_members_scored: int
    epsilon_median: float


Found = dict[str, dict[str, KindFigures]]
"""Figures by attack and kind of record."""


def resolved_fpr(non_members: int) -> float:
    """Return the lowest of `FPRS` that this many non-members resolve, or the highest if none."""
    return next((fpr for fpr in FPRS if non_members >= needed_non_members(fpr)), FPRS[-1])


def scores(
    answers: PoolAnswers, inside: Bool[Tensor, "models n"], attack: str
) -> Float64[np.ndarray, "models n"]:
    """Return the score of each audited record, with each model as the target."""
    phi, coins = answers.confidences.double().numpy(), inside.numpy()
    rows = []
    for target in range(len(phi)):
        others = [run for run in range(len(phi)) if run // 2 != target // 2]
        rows.append(ATTACKS[attack](phi[target], phi[others], coins[others]))
    return np.stack(rows)


def figures(answers: PoolAnswers, arena: Arena, fpr: float) -> Found:
    """Return the figures of each attack on each kind of record."""
    found: Found = {}
    coins = arena.inside.numpy()
    for attack in ATTACKS:
        values = scores(answers, arena.inside, attack)
        found[attack] = {}
        for place, kind in enumerate(KINDS):
            rows = np.flatnonzero(arena.pool.kind.numpy() == place)
            seed = child_seed(arena.seed, kind)
            found[attack][kind] = _figures_of_kind(values[:, rows], coins[:, rows], fpr, seed)
    return found


def _figures_of_kind(
    values: Float64[np.ndarray, "models n"],
    coins: Bool[np.ndarray, "models n"],
    fpr: float,
    seed: int,
) -> KindFigures:
    curve = roc_curve(values.ravel(), coins.ravel())
    tpr = tpr_at_fpr(curve, fpr)
    of_records = _by_resampling(values, coins, fpr, seed)
    bounds = [
        gaussian_epsilon_lower_bound(one, truth, delta=DELTA).epsilon
        for one, truth in zip(values, coins, strict=True)
        if truth.any() and not truth.all()
    ]
    return KindFigures(
        auc=curve.auc,
        auc_interval=_around(auc_interval(values.ravel(), coins.ravel()), of_records[0]),
        tpr=tpr.tpr,
        tpr_interval=_around(tpr.interval, of_records[1]),
        fpr=fpr,
        records=values.shape[1],
        models=len(values),
        members_scored=int(coins.sum()),
        non_members_scored=int((~coins).sum()),
        epsilon_median=float(np.median(bounds)) if bounds else 0.0,
    )


def _by_resampling(
    values: Float64[np.ndarray, "models n"],
    coins: Bool[np.ndarray, "models n"],
    fpr: float,
    seed: int,
) -> tuple[Interval, Interval]:
    """Return the ranges of AUC and TPR when records are resampled."""
    generator, n = numpy_generator(seed, "resamples"), values.shape[1]
    found = []
    for _ in range(_RESAMPLES):
        rows = generator.integers(n, size=n)
        curve = roc_curve(values[:, rows].ravel(), coins[:, rows].ravel())
        found.append((curve.auc, tpr_at_fpr(curve, fpr).tpr))
    low, high = np.quantile(found, [0.025, 0.975], axis=0)
    return (float(low[0]), float(high[0])), (float(low[1]), float(high[1]))


def _around(first: Interval, second: Interval) -> Interval:
    return min(first[0], second[0]), max(first[1], second[1])
