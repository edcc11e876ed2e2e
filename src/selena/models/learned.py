"""A signal that is learned from many numbers per record, as the outputs for several labels.

Boosted trees learn from known records which numbers are members'. A known record is scored by trees
that were grown without it (and without other rows of its subject), so thresholds on known records
are not too hopeful; any other record gets the mean of all.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Int

from selena.seeding import child_seed, numpy_generator

FOLDS = 5
_FEWEST = 50
"""Persons per side that the attacker must know: ten per fold."""
_MOST = 20_000
"""Known rows that one fold's trees learn from."""


def learned_signal(
    features: Float64[np.ndarray, "n d"],
    member: Bool[np.ndarray, " n"],
    known: Bool[np.ndarray, " n"],
    whose: Int[np.ndarray, " n"],
    *,
    seed: int,
) -> Float64[np.ndarray, " n"] | None:
    """Return the log-odds of being a member, or None where too few records are known.

    Args:
        features: what a record shows.
        member: who is a member; read of known records alone.
        known: whose membership the attacker knows.
        whose: number of the person behind each record.
        seed: root of every draw.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    sides = [np.unique(whose[known & side]) for side in (member, ~member)]
    if min(map(len, sides)) < _FEWEST:
        return None
    fold = np.full(len(member), -1)
    for i, persons in enumerate(sides):
        order = numpy_generator(seed, "folds", i).permutation(len(persons)) % FOLDS
        rows = known & (member if i == 0 else ~member)
        fold[rows] = order[np.searchsorted(persons, whose[rows])]
    score = np.zeros(len(member))
    for i in range(FOLDS):
        rows = np.flatnonzero(known & (fold != i))
        if len(rows) > _MOST:
            rows = numpy_generator(seed, "rows", i).choice(rows, _MOST, replace=False)
        trees = HistGradientBoostingClassifier(
            max_iter=60,
            max_leaf_nodes=12,
            early_stopping=False,
            random_state=child_seed(seed, "trees", i) % 2**32,
        )
        trees.fit(features[rows], member[rows])
        score[fold == i] = trees.decision_function(features[fold == i])
        score[~known] += trees.decision_function(features[~known]) / FOLDS
    return score
