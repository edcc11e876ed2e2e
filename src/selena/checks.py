"""What records must be before anything is trained on them."""

from __future__ import annotations

import torch

from selena.errors import DataError
from selena.types import Records


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
