"""Checks of records before training, and a test for probabilities."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float

from selena.errors import DataError
from selena.types import Records

# Rounding to bfloat16 changes a number by at most 1/256 of itself, to three decimals by 0.0005.
_SUM_TOLERANCE, _PER_CLASS = 2**-8, 5e-4


def are_probabilities(values: Float[np.ndarray, "n c"]) -> Bool[np.ndarray, " n"]:
    """Return which rows are probabilities: at least 0, and of sum 1 except for rounding.

    Rounded to 16 bits, the probabilities of a row sum to 1 within 1/256; rounded to three decimals,
    within 0.0005 per class. A single column is the probability of one of two classes, in [0, 1].
    """
    classes = values.shape[1]
    if classes == 1:
        return np.asarray((values[:, 0] >= 0) & (values[:, 0] <= 1))
    tolerance = max(_SUM_TOLERANCE, _PER_CLASS * classes)
    return np.asarray((values >= 0).all(axis=1) & (np.abs(values.sum(axis=1) - 1) <= tolerance))


def check_records(records: Records, *, num_classes: int, what: str) -> None:
    """Raise `DataError` unless `records` can be trained on.

    Checks that there is at least one record, that features are finite and labels in
    [0, num_classes). `what` names the records in the message.
    """
    if len(records) == 0:
        raise DataError(f"{what}: there are no records. Give at least one.")
    if records.x.is_floating_point():
        bad = ~torch.isfinite(records.x).flatten(1).all(dim=1)
        if bool(bad.any()):
            row = int(torch.nonzero(bad)[0])
            raise DataError(
                f"{what}: {int(bad.sum())} records hold NaN or infinite features, the first is "
                f"record {row} (id {int(records.ids[row])}). Remove or impute them."
            )
    low, high = int(records.y.min()), int(records.y.max())
    if low < 0 or high >= num_classes:
        row = int(torch.nonzero((records.y < 0) | (records.y >= num_classes))[0])
        raise DataError(
            f"{what}: label {int(records.y[row])} of record {row} is out of range; with "
            f"{num_classes} classes labels run from 0 to {num_classes - 1}."
        )


def check_same_features(a: Records, b: Records, *, what: str) -> None:
    """Raise `DataError` unless both sets have features of one shape and type."""
    if a.x.shape[1:] != b.x.shape[1:] or a.x.dtype != b.x.dtype:
        raise DataError(
            f"{what}: features disagree: {tuple(a.x.shape[1:])} {a.x.dtype} against "
            f"{tuple(b.x.shape[1:])} {b.x.dtype}."
        )
