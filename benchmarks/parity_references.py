"""Scores from reference models beside the papers' formulas, written out record by record.

Confidences are drawn: records differ in hardness, seen ones are higher, and what is rounded ties.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.stats import norm, spearmanr
from scipy.stats import t as student_t

from selena.attacks.reference_matrix import ReferenceMatrix
from selena.attacks.reference_scores import (
    base_scores,
    bavaria_scores,
    lira_scores,
    rmia_scores,
)
from selena.metrics.low_fpr import tpr_at_fpr
from selena.metrics.roc import roc_curve

Case = tuple[np.ndarray, np.ndarray, np.ndarray]

RUNS, RECORDS, POPULATION = 16, 4000, 20_000
PRIOR = 4  # models; what BaVarIA's prior weighs
A = 0.3  # of RMIA offline


def drawn(seed: int = 5) -> tuple[Case, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return target, references, inside; the truth; and the same answers about a population."""
    draws = np.random.default_rng(seed)
    hardness = draws.normal(2, 3, RECORDS)
    spread = draws.uniform(0.5, 2, RECORDS)
    halves = [draws.permutation(RECORDS) < RECORDS // 2 for _ in range(RUNS // 2)]
    inside = np.array([side for half in halves for side in (half, ~half)])
    truth = draws.permutation(RECORDS) < RECORDS // 2
    said = hardness + spread * draws.normal(size=(RUNS + 1, RECORDS))
    said += np.vstack([inside, truth]) * draws.exponential(2, RECORDS)
    said[:, ::4] = np.round(4 * said[:, ::4]) / 4  # ties
    z = draws.normal(2, 3, POPULATION) + draws.normal(size=(RUNS + 1, POPULATION))
    return (said[-1], said[:-1], inside), truth, (z[-1], z[:-1])


def of_each(case: Case, figure: Callable[[np.ndarray], Any]) -> tuple[Any, Any]:
    """Return a figure of every record's models inside, and of those outside."""
    _, said, inside = case
    columns = list(zip(said.T, inside.T, strict=True))
    seen = np.array([figure(models[side]) for models, side in columns])
    return seen, np.array([figure(models[~side]) for models, side in columns])


def fitted(case: Case) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return mean and standard deviation of either side."""
    means = of_each(case, np.mean)
    deviations = of_each(case, lambda models: models.std(ddof=1))
    return list(zip(means, deviations, strict=True))


def lira_online(case: Case) -> np.ndarray:
    seen, unseen = fitted(case)
    return np.asarray(norm.logpdf(case[0], *seen) - norm.logpdf(case[0], *unseen))


def lira_offline(case: Case) -> np.ndarray:
    """The one-sided probability, which float64 rounds to 1 where a member is far out."""
    return np.asarray(norm.cdf(case[0], *fitted(case)[1]))


def probability(phi: np.ndarray | float) -> Any:
    return 1 / (1 + np.exp(-phi))


def rmia(case: Case, z: tuple[np.ndarray, np.ndarray], *, online: bool) -> np.ndarray:
    """The share of the population whose ratio is smaller, gamma = 1."""
    seen, unseen = of_each(case, lambda models: probability(models).mean())
    mean = (seen + unseen) / 2 if online else ((1 + A) * unseen + 1 - A) / 2
    z_mean = probability(z[1]).mean(axis=0)
    if not online:
        z_mean = ((1 + A) * z_mean + 1 - A) / 2
    z_ratio = np.sort(probability(z[0]) / z_mean)
    ratio = probability(case[0]) / mean
    share: np.ndarray = np.searchsorted(z_ratio, ratio, side="right") / len(z_ratio)
    return share


def base(case: Case, *, online: bool) -> np.ndarray:
    """Minus the loss, less the logarithm of the mean of exp(-loss) over the models."""
    loss = np.log1p(np.exp(-case[0]))
    likelihoods = np.exp(-np.log1p(np.exp(-case[1])))
    used = np.ones_like(case[2]) if online else ~case[2]
    scores: np.ndarray = -loss - np.log((likelihoods * used).sum(axis=0) / used.sum(axis=0))
    return scores


def bavaria(case: Case, *, online: bool) -> np.ndarray:
    """Student's t of each side, its variance drawn towards that of all records."""
    found = []
    counts = case[2].sum(axis=0), (~case[2]).sum(axis=0)
    for (mean, deviation), count in zip(fitted(case), counts, strict=True):
        freedom = PRIOR + count - 1
        pooled = (deviation**2).mean()
        variance = (PRIOR * pooled + (count - 1) * deviation**2) / freedom
        found.append((freedom, mean, np.sqrt(variance * (1 + 1 / count))))
    (_, mean, scale), phi = found[1], case[0]
    if online:
        return np.asarray(student_t.logpdf(phi, *found[0]) - student_t.logpdf(phi, *found[1]))
    return np.asarray((phi - mean) / scale)


def tied_at_the_top(scores: np.ndarray, truth: np.ndarray) -> float:
    """Return the share of the members that share the highest score with another record."""
    highest = scores == scores.max()
    return float((highest & truth).sum() / truth.sum()) if highest.sum() > 1 else 0.0


def pairs(
    case: Case, z: tuple[np.ndarray, np.ndarray] | None
) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Yield what, reference, our scores and theirs."""
    for how, online in (("online", True), ("offline", False)):
        yield (
            f"LiRA {how}",
            f"Carlini et al. 2022, Algorithm {1 if online else 2}",
            lira_scores(*case, variance="record", online=online),
            lira_online(case) if online else lira_offline(case),
        )
        if z is not None:
            yield (
                f"RMIA {how}",
                "Zarifzadeh et al. 2024, 20,000 population records",
                rmia_scores(*case, online=online, offline_a=A),
                rmia(case, z, online=online),
            )
        theirs = base(case, online=online)
        yield f"BASE {how}", "Lassila et al. 2025", base_scores(*case, online=online), theirs
        theirs = bavaria(case, online=online)
        yield f"BaVarIA {how}", "Braennvall 2026", bavaria_scores(*case, online=online), theirs


def in_turn(matrix: ReferenceMatrix) -> tuple[Case, np.ndarray]:
    """Return the answers of a pool whose first model is the target, and the truth about it."""
    inside = matrix.inside
    others = [i for i in range(1, matrix.runs) if not np.array_equal(inside[i], ~inside[0])]
    answers = matrix.confidences.clip(-matrix.end, matrix.end)
    return (answers[0], answers[others], inside[others]), inside[0]


def comparisons(
    matrix: ReferenceMatrix | None = None,
) -> Iterator[tuple[str, str, str, float, dict[str, float]]]:
    """Yield what, reference, measure, value and both sides' figures.

    Confidences are drawn, or those of a trained pool (then without a population).
    """
    case, truth, z = drawn() if matrix is None else (*in_turn(matrix), None)
    where = "" if matrix is None else f", {len(case[1])} models trained on Location30"
    for name, reference, ours, theirs in pairs(case, z):
        what = name + where
        yield what, reference, "rank correlation", float(spearmanr(ours, theirs).statistic), {}
        curves = [roc_curve(scores, truth) for scores in (ours, theirs)]
        for fpr in (0.01, 0.001):
            rates = [tpr_at_fpr(curve, fpr).tpr for curve in curves]
            both = {"ours": rates[0], "theirs": rates[1]}
            measure = f"difference of TPRs at {fpr:.1%} FPR"
            yield what, reference, measure, rates[0] - rates[1], both
        tied = [tied_at_the_top(scores, truth) for scores in (ours, theirs)]
        both = {"ours": tied[0], "theirs": tied[1]}
        yield what, reference, "members tied at the top, ours", tied[0], both
