"""Fits anybody's estimator: seeds, weights, classes it has not seen, soft labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int64
from sklearn import get_config
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import has_fit_parameter

from selena.seeding import child_seed, numpy_generator
from selena.sklearn.base import Probabilities
from selena.sklearn.checks import Groups, Labels, Weights

COPIES = 10
"""Rows a record, on average, for an estimator that takes no weights."""

FLOOR = 1e-3
"""A class less probable than this makes no row of a soft label."""


def fit_hard(
    estimator: Any,
    X: Any,
    y: Labels,
    weight: Weights | None,
    *,
    seed: int,
    rows_wanted: int | None = None,
    groups: Groups | None = None,
) -> Any:
    """Return a fitted copy of `estimator`, whose randomness comes from `seed`.

    Where there is only one class, which many estimators refuse, it is a constant answer.

    Args:
        estimator: what to fit; it is not changed.
        X: n x d features.
        y: n labels.
        weight: n weights > 0, or None. An estimator that takes none is fitted on each record
            repeated in proportion to its weight, rounded at random.
        seed: of the rounding, and of the estimator's own randomness.
        rows_wanted: how many rows repetition makes, about; n x `COPIES` unless told otherwise.
        groups: number of each record's group, for an estimator that is fitted by them; no weights
            then.
    """
    copy = _seeded_clone(estimator, seed)
    named: dict[str, Any] = {}
    if groups is not None and has_fit_parameter(copy, "groups"):
        named["groups"] = groups
    if weight is not None:
        name = _weight_parameter(copy)
        if name is not None:
            named[name] = weight
        else:
            times = weight * ((rows_wanted or COPIES * len(y)) / weight.sum())
            rows = np.repeat(np.arange(len(y)), _round_at_random(times, seed))
            X, y = X[rows], y[rows]
    if (y == y[0]).all():
        return DummyClassifier(strategy="prior").fit(X, y)
    return copy.fit(X, y, **named)


def fit_soft(
    estimator: Any,
    X: Any,
    soft: Probabilities,
    weight: Weights | None,
    *,
    classes: np.ndarray,
    seed: int,
    max_expansion: int,
) -> Any:
    """Return a copy of `estimator` fitted on soft labels.

    An estimator with `fit_soft` learns them as they are. Any other is fitted on each record once
    a class, weighted by the class's probability, which minimises the same expected loss: on at
    most n x `max_expansion` rows.

    Args:
        estimator: what to fit; it is not changed.
        X: n x d features.
        soft: n x c probabilities; rows sum to 1.
        weight: n weights > 0, or None.
        classes: the c labels.
        seed: of all randomness.
        max_expansion: how many classes of a record are kept, the most probable; of these only
            such as reach `FLOOR`. What is kept is scaled to sum to 1.
    """
    if hasattr(estimator, "fit_soft"):
        copy = _seeded_clone(estimator, seed)
        return copy.fit_soft(X, soft, classes=classes, sample_weight=weight)
    order = np.argsort(-soft, axis=1, kind="stable")[:, :max_expansion]
    kept = np.take_along_axis(soft, order, axis=1)
    kept[:, 1:][kept[:, 1:] < FLOOR] = 0  # the most probable class always stays
    kept *= (1.0 if weight is None else weight[:, None]) / kept.sum(axis=1, keepdims=True)
    rows, column = np.nonzero(kept)
    return fit_hard(
        estimator,
        X[rows],
        classes[order[rows, column]],
        kept[rows, column],
        seed=seed,
        rows_wanted=max_expansion * len(soft),
    )


def aligned_proba(fitted: Any, X: Any, classes: np.ndarray) -> Probabilities:
    """Return predictions with a column for each of `classes`, 0 for one that `fitted` never saw."""
    known = fitted.predict_proba(X)
    proba = np.zeros((len(known), len(classes)))
    proba[:, np.searchsorted(classes, fitted.classes_)] = known
    return proba


def _seeded_clone(estimator: Any, seed: int) -> Any:
    """Return an unfitted copy; each `random_state` in it, however deep, gets a seed of its own."""
    copy = clone(estimator)
    names = [
        name
        for name in copy.get_params(deep=True)
        if name == "random_state" or name.endswith("__random_state")
    ]
    return copy.set_params(**{name: child_seed(seed, name) % 2**32 for name in names})


def _weight_parameter(estimator: Any) -> str | None:
    """Return what `fit` calls the weights of records, or None where it takes none."""
    if has_fit_parameter(estimator, "sample_weight"):
        return "sample_weight"
    if not isinstance(estimator, Pipeline):
        return None
    if get_config()["enable_metadata_routing"]:
        routing = get_routing_for_object(estimator)
        return "sample_weight" if routing.consumes("fit", ["sample_weight"]) else None
    last, final = estimator.steps[-1]
    inner = _weight_parameter(final)
    return None if inner is None else f"{last}__{inner}"


def _round_at_random(numbers: Weights, seed: int) -> Int64[np.ndarray, " n"]:
    """Return whole numbers whose expectations are `numbers`."""
    draws = numpy_generator(seed, "rounding").random(len(numbers))
    return np.floor(numbers + draws).astype(np.int64)
