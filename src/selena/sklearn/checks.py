"""Checks of the arguments of `fit`, as scikit-learn makes them."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, Shaped
from sklearn.base import clone
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_scalar,
    column_or_1d,
    validate_data,
)

from selena.data.subjects import number_subjects
from selena.defenses.split_ai import check_sizes
from selena.errors import ConfigError, DataError
from selena.models.containers import contain
from selena.sklearn.records import is_plain, subjects_of, take, without_column

Labels = Shaped[np.ndarray, " n"]
Weights = Float64[np.ndarray, " n"]
Subjects = Int64[np.ndarray, " n"]


def check_counts(n_submodels: Any, n_nonmodels: Any) -> tuple[int, int]:
    """Return K and L; raise `ConfigError` unless 1 <= L < K, `TypeError` unless integers."""
    check_scalar(n_submodels, "n_submodels", Integral)
    check_scalar(n_nonmodels, "n_nonmodels", Integral)
    check_sizes(int(n_submodels), int(n_nonmodels))
    return int(n_submodels), int(n_nonmodels)


def check_estimator(estimator: Any, role: str) -> Any:
    """Return `estimator`; raise `ConfigError` unless it is an instance with `predict_proba`."""
    if isinstance(estimator, type) or not hasattr(estimator, "fit"):
        raise ConfigError(
            f"{role} must be an estimator, as LogisticRegression(); got {estimator!r}."
        )
    if not hasattr(_with_final_estimators(estimator), "predict_proba"):
        raise ConfigError(
            f"{role} has no predict_proba, from which soft labels are taken: {estimator!r}. "
            "Choose one that has, or wrap it in CalibratedClassifierCV."
        )
    return estimator


def _with_final_estimators(estimator: Any) -> Any:
    """Return the estimator with the default final estimator of stacking classifiers set.

    Otherwise scikit-learn does not see before fitting that they will have `predict_proba`.
    """
    if not hasattr(estimator, "get_params"):
        return estimator
    parts = {"": estimator, **estimator.get_params(deep=True)}
    defaults = {
        f"{name}__final_estimator".removeprefix("__"): LogisticRegression()
        for name, part in parts.items()
        if isinstance(part, StackingClassifier) and part.final_estimator is None
    }
    return clone(estimator).set_params(**defaults) if defaults else estimator


def check_weights(sample_weight: Any, X: Any) -> Weights:
    """Return one weight per record; raise `ValueError` if one is negative or all are 0."""
    weight: Weights = _check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
    if not weight.any():  # older versions of scikit-learn accept this
        raise ConfigError("sample_weight: all weights are zero. Give one above zero.")
    return weight


def check_subjects(subjects: Any, X: Any) -> Subjects:
    """Return the number of each record's subject; raise `DataError` unless each has one."""
    check_consistent_length(X, subjects)
    try:
        return number_subjects(column_or_1d(subjects))
    except DataError as error:
        raise DataError(f"subjects: {error}") from error


def check_training(
    model: Any, X: Any, y: Any, sample_weight: Any, subjects: Any = None, **checks: Any
) -> tuple[Any, Labels, Weights | None, Subjects | None]:
    """Return the records, labels, weights and subjects to fit `model` on.

    Sets `n_features_in_`, `feature_names_in_` and `classes_`. Records of weight 0 are left out, so
    that no model ever sees them.

    Args:
        model: the estimator being fitted.
        X: n records; the estimators inside `model` check everything except tables of numbers.
        y: n labels.
        sample_weight: n weights, at least 0, or None.
        subjects: subject id of each record, integers or strings (-1: none), or None.
        checks: arguments of `sklearn.utils.validation.validate_data`.

    Raises:
        ValueError: malformed input (as in scikit-learn), negative weights, no weight above 0,
            missing subjects, or fewer than two classes.
    """
    column = getattr(model, "subject_column", None)
    if column is not None:
        subjects = subjects_of(X, column, subjects)
        X = without_column(X, column)
    if "dtype" in checks or is_plain(X):
        X, y = validate_data(model, X, y, **checks)
    else:
        y = validate_data(model, y=y)
        validate_data(model, X, skip_check_array=True)
        X = contain(X, "X").values
        check_consistent_length(X, y)
    check_classification_targets(y)
    subjects = None if subjects is None else check_subjects(subjects, X)
    weight = None
    if sample_weight is not None:
        weight = check_weights(sample_weight, X)
        kept = weight > 0
        X, y, weight = take(X, kept), y[kept], weight[kept]
        subjects = None if subjects is None else subjects[kept]
    model.classes_ = np.unique(y)
    if len(model.classes_) < 2:
        raise ConfigError(
            f"{type(model).__name__} needs at least 2 classes; the records (n_samples={len(y)}) "
            f"are all of one class, {model.classes_[0]!r}."
        )
    return X, y, weight, subjects
