"""Fits any estimator: seeds, weights, missing classes, soft labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64
from sklearn import get_config
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import has_fit_parameter

from selena.errors import DataError
from selena.seeding import child_seed, numpy_generator
from selena.sklearn.base import Probabilities
from selena.sklearn.checks import Labels, Subjects, Weights
from selena.sklearn.records import take

COPIES = 10
"""Average number of rows per record, for an estimator that takes no weights."""

_ROUNDING = 1e-6
"""Sums this close to 1 are not corrected (probabilities in float32)."""

FLOOR = 1e-3
"""Smallest probability for which a soft label has a row."""


def fit_hard(
    estimator: Any,
    X: Any,
    y: Labels,
    weight: Weights | None,
    *,
    seed: int,
    classes: np.ndarray,
    rows_wanted: int | None = None,
    subjects: Subjects | None = None,
) -> Any:
    """Return a fitted copy of `estimator`, whose randomness comes from `seed`.

    With a single class, which many estimators refuse, it is a constant classifier. If a class is
    missing and labels are numbers, the copy is fitted on labels 0, 1, ... without gaps, because
    some estimators take no others (XGBoost, networks). The same is tried for an estimator that
    refuses the labels, such as names. The returned classifier always has the original labels.

    Args:
        estimator: what to fit; it is not changed.
        X: n x d features.
        y: n labels.
        weight: n weights > 0, or None. For an estimator that takes no weights, records are
            repeated in proportion to their weights, rounded at random.
        seed: seed of the rounding and of the estimator's own randomness.
        classes: all labels, sorted.
        rows_wanted: approximate number of rows after repetition; n x `COPIES` by default.
        subjects: number of each record's subject, for an estimator whose `fit` takes subjects;
            only without weights.
    """
    copy = _seeded_clone(estimator, seed)
    named: dict[str, Any] = {}
    if subjects is not None and has_fit_parameter(copy, "subjects"):
        named["subjects"] = subjects
    if weight is not None:
        name = _weight_parameter(copy)
        if name is not None:
            named[name] = weight
        else:
            times = weight * ((rows_wanted or COPIES * len(y)) / weight.sum())
            rows = np.repeat(np.arange(len(y)), _round_at_random(times, seed))
            X, y = take(X, rows), y[rows]
    if (y == y[0]).all():
        return DummyClassifier(strategy="prior").fit(X, y)
    present = np.unique(y)
    numbered = np.array_equal(present, np.arange(len(present)))
    failed: Exception | None = None
    if len(present) == len(classes) or y.dtype.kind not in "iuf":  # names have no gaps
        try:
            return copy.fit(X, y, **named)
        except (TypeError, ValueError) as error:
            if numbered:
                raise
            failed = error
        copy = _seeded_clone(estimator, seed)
    _number_class_weights(copy, present)
    try:
        return Numbered(copy.fit(X, np.searchsorted(present, y), **named), present)
    except Exception:
        if failed is None:
            raise
        raise failed from None  # numbers fail too, so the labels are not the reason


@dataclass(frozen=True, eq=False)
class Numbered:
    """A fitted estimator with labels 0, 1, ..., and their original names.

    Attributes:
        fitted: the estimator.
        classes_: the original labels.
    """

    fitted: Any
    classes_: np.ndarray

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return one column per entry of `classes_`; other columns of the estimator are dropped."""
        proba = np.asarray(self.fitted.predict_proba(X))
        return proba[:, : len(self.classes_)]

    def predict(self, X: Any) -> np.ndarray:
        """Return labels."""
        labels: np.ndarray = self.classes_[np.asarray(self.fitted.predict(X), dtype=np.int64)]
        return labels


def _number_class_weights(estimator: Any, present: np.ndarray) -> None:
    """Convert class weights to the numbers of the present classes."""
    numbers = {label: i for i, label in enumerate(present.tolist())}
    for name, weights in estimator.get_params(deep=True).items():
        if name.rpartition("__")[2] == "class_weight" and isinstance(weights, Mapping):
            known = {label: weight for label, weight in weights.items() if label in numbers}
            estimator.set_params(**{name: {numbers[each]: known[each] for each in known}})


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

    An estimator with `fit_soft`, or a pipeline that ends in one, learns them directly. Any other is
    fitted on each record once per class, weighted by the class's probability, which minimises the
    same expected loss, on at most n x `max_expansion` rows.

    Args:
        estimator: what to fit; it is not changed.
        X: n x d features.
        soft: n x c probabilities; rows sum to 1.
        weight: n weights > 0, or None.
        classes: the c labels.
        seed: seed of all randomness.
        max_expansion: number of most probable classes of a record to keep, at most; classes below
            `FLOOR` are dropped, and the others are scaled to sum to 1.
    """
    if hasattr(estimator, "fit_soft"):
        copy = _seeded_clone(estimator, seed)
        return copy.fit_soft(X, soft, classes=classes, sample_weight=weight)
    if isinstance(estimator, Pipeline) and hasattr(estimator.steps[-1][1], "fit_soft"):
        return _fit_last_step(_seeded_clone(estimator, seed), X, soft, weight, classes=classes)
    order = np.argsort(-soft, axis=1, kind="stable")[:, :max_expansion]
    kept = np.take_along_axis(soft, order, axis=1)
    kept[:, 1:][kept[:, 1:] < FLOOR] = 0  # the most probable class is always kept
    kept *= (1.0 if weight is None else weight[:, None]) / kept.sum(axis=1, keepdims=True)
    rows, column = np.nonzero(kept)
    return fit_hard(
        estimator,
        take(X, rows),
        classes[order[rows, column]],
        kept[rows, column],
        seed=seed,
        classes=classes,
        rows_wanted=max_expansion * len(soft),
    )


def _fit_last_step(
    pipeline: Pipeline, X: Any, soft: Probabilities, weight: Weights | None, *, classes: np.ndarray
) -> Pipeline:
    """Fit the steps of a pipeline, and the last one on soft labels.

    Steps that use labels get the most probable ones (by the non-models), not the true ones.
    """
    if len(pipeline.steps) > 1:
        X = pipeline[:-1].fit_transform(X, classes[soft.argmax(axis=1)])
    pipeline.steps[-1][1].fit_soft(X, soft, classes=classes, sample_weight=weight)
    return pipeline


def aligned_proba(fitted: Any, X: Any, classes: np.ndarray) -> Probabilities:
    """Return probabilities with one column per class, 0 for a class that `fitted` never saw.

    Rows that do not sum to 1 are divided by their sum (with one model per class, or columns of no
    class). A row of zeros becomes equal probabilities for all classes that were seen.

    Raises:
        DataError: answers that are negative or not finite, or of wrong width.
    """
    known, labels = np.asarray(fitted.predict_proba(X), dtype=np.float64), fitted.classes_
    seen = np.searchsorted(classes, labels)
    width = known.shape[-1]
    if width > len(seen) and labels.dtype.kind in "iu" and set(labels.tolist()) < set(range(width)):
        known = known[:, labels]  # a network of fixed width: labels are its column numbers
    if known.shape != (len(known), len(seen)) or not (np.isfinite(known) & (known >= 0)).all():
        raise DataError(
            f"predict_proba of {type(getattr(fitted, 'fitted', fitted)).__name__} gives "
            f"{known.shape[-1]} columns for {len(seen)} classes, from {known.min():.4g} to "
            f"{known.max():.4g}. It must give one probability per class, at least 0."
        )
    sums = known.sum(axis=1, keepdims=True)
    off = np.abs(sums[:, 0] - 1) > _ROUNDING
    if off.any():
        known = known.copy()
        known[off & (sums[:, 0] == 0)] = 1
        known[off] /= known[off].sum(axis=1, keepdims=True)
    proba = np.zeros((len(known), len(classes)))
    proba[:, seen] = known
    return proba


def _seeded_clone(estimator: Any, seed: int) -> Any:
    """Return an unfitted copy; each `random_state` in it, also nested, gets its own seed."""
    copy = clone(estimator)
    names = [
        name
        for name in copy.get_params(deep=True)
        if name == "random_state" or name.endswith("__random_state")
    ]
    return copy.set_params(**{name: child_seed(seed, name) % 2**32 for name in names})


def _weight_parameter(estimator: Any) -> str | None:
    """Return the name of the weights of records in `fit`, or None if it takes none."""
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
    """Return random integers with the expectations `numbers`."""
    draws = numpy_generator(seed, "rounding").random(len(numbers))
    return np.floor(numbers + draws).astype(np.int64)
