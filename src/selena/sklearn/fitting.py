"""Fits anybody's estimator: seeds, weights, classes it has not seen, soft labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int
from sklearn import get_config
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import has_fit_parameter

from selena.seeding import child_seed, numpy_generator
from selena.sklearn.checks import Labels, Weights

COPIES = 10
"""Rows a record, on average, for an estimator that takes no weights."""

FLOOR = 1e-3
"""Soft labels below it make no row of their own."""


def seeded_clone(estimator: Any, seed: int) -> Any:
    """Return an unfitted copy; each `random_state` in it, however deep, has a seed of its own."""
    copy = clone(estimator)
    names = [
        name
        for name in sorted(copy.get_params(deep=True))
        if name == "random_state" or name.endswith("__random_state")
    ]
    return copy.set_params(**{name: child_seed(seed, name) % 2**32 for name in names})


def fit_hard(
    estimator: Any,
    X: Any,
    y: Labels,
    weight: Weights | None,
    *,
    seed: int,
    copies: int = COPIES,
) -> Any:
    """Return a copy of `estimator` fitted on labels.

    Where only one class is left, many estimators cannot be fitted; a constant answer is what
    they would learn.

    Args:
        estimator: what to fit; it is not changed.
        X: n x d features.
        y: n labels.
        weight: n weights > 0, or None. An estimator that takes none is fitted on each record
            repeated in proportion to its weight, `copies` times on average, rounded at random.
        seed: of the rounding, and of the estimator's own randomness.
        copies: see `weight`.
    """
    if (y == y[0]).all():
        return DummyClassifier(strategy="prior").fit(X, y)
    copy = seeded_clone(estimator, seed)
    if weight is None:
        return copy.fit(X, y)
    name = _weight_parameter(copy)
    if name is not None:
        return copy.fit(X, y, **{name: weight})
    times = weight * (copies * len(np.unique(weight_rows(X))) / weight.sum())
    rows = np.repeat(np.arange(len(y)), _round_at_random(times, seed))
    return copy.fit(X[rows], y[rows])
