"""Detects preprocessing that was fitted outside of the protected estimator."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy import sparse

from selena.errors import AuditWarning, DataError
from selena.models.containers import contain

_FEWEST_RECORDS, _FEWEST_COLUMNS, _ROUNDING = 20, 2, 1e-6


def warn_of_outside(X: Any) -> None:
    """Warn if records seem to come from a step that was fitted on all of them.

    If all columns have mean 0 and standard deviation 1, or all range from 0 to 1 with values
    between, statistics of all these records scaled them. If all rows of a sparse matrix have length
    1 and unequal numbers, they look like TF-IDF. Other steps are not detected.

    Args:
        X: the training records.
    """
    found = _trace(X)
    if found is not None:
        what, step = found
        warnings.warn(
            f"X looks as if {what} before fit. That step learned from all records, so every copy "
            f"knows something of each of them. Put it inside, as make_pipeline({step}, ...).",
            AuditWarning,
            stacklevel=3,
        )


def _trace(X: Any) -> tuple[str, str] | None:
    """Return a description of the step that records seem to come from and its name, or None."""
    if sparse.issparse(X):
        return ("a TF-IDF vectorizer had been fitted", "TfidfVectorizer()") if _tf_idf(X) else None
    try:
        numbers = np.asarray(contain(X, "X").numbers(), dtype=np.float64)
    except (DataError, TypeError, ValueError):  # texts and other records without numbers
        return None
    if numbers.ndim != 2 or len(numbers) < _FEWEST_RECORDS or not np.isfinite(numbers).all():
        return None
    low, high = numbers.min(axis=0), numbers.max(axis=0)
    varied = numbers[:, high > low]
    if varied.shape[1] < _FEWEST_COLUMNS:
        return None
    if (np.abs(varied.mean(axis=0)) < _ROUNDING).all() and (
        np.abs(varied.std(axis=0) - 1) < _ROUNDING
    ).all():
        return "a StandardScaler had been fitted on it", "StandardScaler()"
    between = ((varied > 0) & (varied < 1)).any(axis=0)
    ends = (low[high > low] == 0) & (np.abs(high[high > low] - 1) < _ROUNDING)
    if (ends & between).all():
        return "a MinMaxScaler had been fitted on it", "MinMaxScaler()"
    return None


def _tf_idf(X: Any) -> bool:
    rows: Any = sparse.csr_array(X)
    if rows.shape[0] < _FEWEST_RECORDS or rows.dtype.kind != "f":
        return False
    squares = np.asarray(rows.multiply(rows).sum(axis=1)).ravel()
    filled = squares[squares > 0]
    unit = len(filled) > 0 and bool((np.abs(filled - 1) < _ROUNDING).all())
    # Normalised counts may have rows with a single number or with equal ones.
    return unit and len(np.unique(rows.data.round(6))) > rows.shape[0] / 2
