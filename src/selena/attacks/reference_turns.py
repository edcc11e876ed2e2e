"""Attacks each model of a pool in turn, with the others as references (Carlini et al. 2022, V)."""

from __future__ import annotations

import numpy as np

from selena.attacks.reference_answers import are_even, evaluate, without_one
from selena.attacks.reference_matrix import ReferenceMatrix
from selena.attacks.reference_moments import Scores
from selena.attacks.reference_statistics import StatisticName, StatisticSettings
from selena.attacks.reference_variance import pooling
from selena.errors import ConfigError
from selena.seeding import numpy_generator


def scores_in_turn(
    matrix: ReferenceMatrix,
    target: int,
    statistic: StatisticName = "lira",
    settings: StatisticSettings | None = None,
    *,
    runs: int | None = None,
    seed: int = 0,
) -> Scores:
    """Return the score of each record with one of the matrix's models as the target.

    If half of all models saw each record, the numbers of the others would reveal the truth about
    the target: a record that it trained on has one such model less. So one model of the other side
    is left out, too: the model of the complementary half, or without one a model drawn per record.
    Where records were drawn for each model on its own, the numbers reveal nothing, and stay.

    Args:
        matrix: the pool.
        target: number of the model that is attacked.
        statistic: "lira", "rmia", "base", "bavaria" or "empirical_bayes".
        settings: settings of the statistic; by default those of `StatisticSettings`.
        runs: number of other models to use as references, by default all; with complementary
            halves an even number.
        seed: root of the draws.

    Raises:
        ConfigError: no such model, or more `runs` than other models.
        DataError: a record has too few models on a needed side.
    """
    settings = settings or StatisticSettings()
    settings.check(statistic)
    if not 0 <= target < matrix.runs:
        raise ConfigError(f"target is {target}; the matrix has runs 0 to {matrix.runs - 1}.")
    mirror = _mirror(matrix, target)
    others = [run for run in _after(matrix, target) if run not in (target, mirror)]
    if runs is not None and not 1 <= runs <= len(others):
        raise ConfigError(
            f"runs is {runs}; beside the target there are {len(others)} reference models. "
            "Train more, or ask for fewer."
        )
    chosen = matrix.take(runs=others[:runs])
    asked = matrix.confidences[target].reshape(len(matrix), matrix.queries)
    least = 1 if statistic in ("rmia", "base") else 2
    answers = chosen.answers(asked, np.arange(len(matrix)), online=settings.online, least=least)
    pool = pooling(statistic, settings.variance, answers)
    if mirror is None and are_even(matrix.inside):
        inside, truth = matrix.inside[others], matrix.inside[target]
        # Of all others, so that a part of them reveals nothing either.
        used = without_one(inside, truth, numpy_generator(seed, "evened").random(inside.shape))
        answers = answers.only(used[:runs], least=least)
    return evaluate(answers, settings.bind(statistic), pool(answers))


def _mirror(matrix: ReferenceMatrix, target: int) -> int | None:
    """Return the model that trained on the complement of the target's half, if there is one."""
    complement = ~matrix.inside[target]
    same = np.flatnonzero((matrix.inside == complement).all(axis=1))
    return int(same[0]) if len(same) else None


def _after(matrix: ReferenceMatrix, target: int) -> list[int]:
    """Return all runs in pairs, starting with the pair after the target's."""
    first = (target // 2 * 2 + 2) % max(matrix.runs, 1)
    runs = range(matrix.runs)
    return [*runs[first:], *runs[:first]]
