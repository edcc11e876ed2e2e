"""Records for estimators: tables of numbers are checked, anything else is passed on unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, Shaped
from scipy import sparse
from sklearn.utils.validation import validate_data

from selena.errors import ConfigError, DataError
from selena.models.containers import contain


def is_plain(X: Any) -> bool:
    """Return whether records are a plain table of numbers, which scikit-learn can check.

    Frames are not, since estimators inside may select columns by name. Neither are texts, strings
    beside numbers, dictionaries and images.
    """
    if sparse.issparse(X):
        return True
    if isinstance(X, Mapping) or hasattr(X, "iloc") or hasattr(X, "to_arrow"):
        return False
    try:
        array = np.asarray(X)
        if array.dtype == object and array.ndim == 2:
            array.astype(np.float64)
            return True
    except (TypeError, ValueError):  # rows of unequal lengths, or strings
        return False
    return array.ndim == 0 or (array.dtype.kind in "buifc" and array.ndim <= 2)


def take(X: Any, rows: Int64[np.ndarray, " m"] | Bool[np.ndarray, " n"]) -> Any:
    """Return the records at `rows`, in the same kind of container."""
    if rows.dtype == bool:
        rows = np.flatnonzero(rows)
    return X[rows] if hasattr(X, "toarray") else contain(X, "X").take(rows)


def check_queries(model: Any, X: Any, **checks: Any) -> Any:
    """Return queries as the estimators inside `model` take them.

    Args:
        model: the fitted estimator that is asked.
        X: records of the kind that it was fitted on.
        checks: arguments of `sklearn.utils.validation.validate_data`, for numbers.

    Raises:
        ValueError: malformed input, as in scikit-learn.
    """
    X = without_column(X, getattr(model, "subject_column", None))
    if is_plain(X):
        return validate_data(model, X, reset=False, **checks)
    validate_data(model, X, reset=False, skip_check_array=True)
    return contain(X, "X").values


def without_column(X: Any, column: str | None) -> Any:
    """Return a frame without `column`, if it has this column."""
    if column is None or not hasattr(X, "columns") or column not in list(X.columns):
        return X
    return X.drop(columns=column) if hasattr(X, "iloc") else X.drop(column)


def subjects_of(X: Any, column: str, subjects: Any) -> Shaped[np.ndarray, " n"]:
    """Return the subject id of each record, from a column of a frame.

    Raises:
        ConfigError: subjects are given twice, or records are no frame.
        DataError: the frame has no such column.
    """
    if subjects is not None:
        raise ConfigError(
            f"subjects and subject_column={column!r} both give the subject id of each row. Give "
            "one of them."
        )
    if not hasattr(X, "columns"):
        raise ConfigError(
            f"subject_column={column!r} names a column of a frame, but X is a {type(X).__name__}. "
            "Pass fit(..., subjects=...)."
        )
    if column not in list(X.columns):
        raise DataError(
            f"subject_column={column!r} is no column of X. Its columns are "
            f"{', '.join(map(str, list(X.columns)[:10]))}."
        )
    return np.asarray(X[column])
