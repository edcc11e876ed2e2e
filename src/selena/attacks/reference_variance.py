"""Whether LiRA compares a record with a variance of its own, or with one that all records share.

With few reference models a record's own variance is mostly noise, so Carlini et al. (2022, Section
VI-D) share one below 64 models. But what is better depends on the defense and the data, not on the
number alone. An attacker knows what each reference model trained on, so "auto" attacks these models
in turn, each by the others, and takes what finds more of their members.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Int64

from selena.attacks.reference_answers import (
    Answers,
    Pooled,
    are_even,
    evaluate,
    pooled_variances,
    priors,
    without_one,
)
from selena.attacks.reference_moments import Mask, Scores
from selena.attacks.reference_statistics import StatisticName, lira_statistic
from selena.metrics.low_fpr import tpr_at_fpr
from selena.metrics.roc import roc_curve
from selena.seeding import numpy_generator

FEWEST = 4
"""Fewest models per side of a record that is tried; each turn leaves out one of them."""

MODELS_FOR_OWN_VARIANCE = 64
"""Fewest models for a variance of its own if no model can be attacked.

That is so offline, if none of them trained on any of the records.
"""

Rows = Int64[np.ndarray, " m"]
Truth = Bool[np.ndarray, " n"]

_FPR, _FALSE_POSITIVES = 0.01, 10
_TURNS = 16
_MOST = 0.95  # share of the records that must have so many models, or all share a variance
_RECORDS = 10_000


def pooling(
    statistic: StatisticName, variance: str, answers: Answers
) -> Callable[[Answers], Pooled | None]:
    """Return the function that sums up all records for a statistic; it may return None.

    Args:
        statistic: BaVarIA needs their variance, empirical Bayes a prior, RMIA and BASE nothing.
        variance: "shared", "record" or "auto", for LiRA.
        answers: of the reference models, about any records; the target's are not read.
    """
    if statistic == "empirical_bayes":
        return priors
    shares = statistic == "bavaria"
    if statistic == "lira":
        shares = variance == "shared" or (variance == "auto" and not own_finds_more(answers))
    return pooled_variances if shares else _nothing


def _nothing(_: Answers) -> None:
    return None


def own_finds_more(answers: Answers) -> bool:
    """Return whether a variance per record finds more members of the reference models.

    Both variances attack at most 16 models on at most 10,000 records. What counts is the mean TPR
    at 1 % FPR, or at ten false positives if these are more.
    """
    inside, online = _inside(answers), answers.sides[0] is not None
    trained = inside.sum(axis=0)
    fewest = np.minimum(trained, answers.runs - trained) if online else answers.runs - trained
    enough = np.flatnonzero(fewest >= FEWEST)
    if not len(enough) or len(enough) < _MOST * len(trained):
        return False
    chosen = enough[np.unique(np.linspace(0, len(enough) - 1, _RECORDS).astype(np.int64))]
    few = replace(
        answers,
        target=answers.target[chosen],
        references=answers.references[:, chosen],
        sides=(_of(answers.sides[0], chosen), _of(answers.sides[1], chosen)),
    )
    found = [
        (_tpr(turn, truth, share=True), _tpr(turn, truth, share=False))
        for turn, truth in _turns(few, inside[:, chosen], online=online)
    ]
    if not found:  # every model trained on all of the records, or on none
        return answers.runs >= MODELS_FOR_OWN_VARIANCE
    shared, own = np.mean(found, axis=0)
    return bool(own > shared)


def _of(side: Mask | None, chosen: Rows) -> Bool[np.ndarray, "r m"] | None:
    return None if side is None else side[:, chosen]


def _inside(answers: Answers) -> Mask:
    trained, untrained = answers.sides
    if trained is not None:
        return trained
    assert untrained is not None
    return ~untrained


def _turns(answers: Answers, inside: Mask, *, online: bool) -> Iterator[tuple[Answers, Truth]]:
    """Yield each model as the target of the others, and what it trained on."""
    even = are_even(inside)
    mixed = np.flatnonzero(inside.any(axis=1) & ~inside.all(axis=1))
    for run in mixed[:_TURNS].tolist():
        truth = inside[run]
        used = np.ones_like(inside)
        if even:
            draws = numpy_generator(0, "variance", str(run)).random(inside.shape)
            used = without_one(inside, truth, draws)
        used[run] = False
        sides = (inside & used if online else None, ~inside & used)
        yield replace(answers, target=answers.references[run], sides=sides), truth


def _tpr(answers: Answers, truth: Truth, *, share: bool) -> float:
    scores: Scores = evaluate(answers, lira_statistic, pooled_variances(answers) if share else None)
    fpr = max(_FPR, min(_FALSE_POSITIVES / int((~truth).sum()), 1 / 2))
    return tpr_at_fpr(roc_curve(scores, truth), fpr).tpr
