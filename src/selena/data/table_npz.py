"""NumPy archives: `x`/`features`, `y`/`labels`, maybe groups and `num_classes`. No pickles."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selena.data.table import Table
from selena.errors import DataError

_FEATURES = ("x", "features")
_LABELS = ("y", "labels")


def read_npz(path: Path, group_array: str | None = None) -> Table:
    """Read an `.npz` file; rows are counted from 1.

    Raises:
        DataError: if it is damaged, lacks an array, holds objects, or the shapes disagree.
    """
    # np.load answers a lone .npy file, too, and names pickles where it finds no format it knows.
    if not zipfile.is_zipfile(path):
        raise DataError(
            f"{path}: this is no .npz archive, or it is truncated. Write it with numpy.savez."
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            features = _array(archive, _FEATURES, path)
            labels = _array(archive, _LABELS, path)
            groups = None if group_array is None else _array(archive, (group_array,), path)
            declared = archive["num_classes"] if "num_classes" in archive.files else None
    except (EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: the file is damaged or holds objects ({error}).") from error
    if features.ndim != 2 or features.dtype.kind not in "buif":
        raise DataError(
            f"{path}: the features have shape {features.shape} and type {features.dtype}; they "
            "must be real numbers, n x d. Use x.reshape(len(x), -1)."
        )
    if labels.shape != features.shape[:1] or labels.dtype.kind not in "buifU":
        raise DataError(
            f"{path}: the labels have shape {labels.shape} and type {labels.dtype}; they must be "
            f"integers or strings, one for each of the {len(features)} records."
        )
    if groups is not None and (
        groups.shape != features.shape[:1] or groups.dtype.kind not in "buiU"
    ):
        raise DataError(
            f"{path}: the groups have shape {groups.shape} and type {groups.dtype}; they must be "
            f"integers or strings, one for each of the {len(features)} records."
        )
    if group_array in (*_FEATURES, *_LABELS):
        raise DataError(
            f"{path}: array {group_array!r} holds features or labels. Name another with "
            "--group-column."
        )
    return Table(
        path=path,
        features=features,
        labels=labels,
        columns=tuple(f"x[:, {column}]" for column in range(features.shape[1])),
        rows=np.arange(1, len(features) + 1),
        num_classes=None if declared is None else _scalar(declared, path),
        groups=groups,
    )


def _array(archive: Any, names: tuple[str, ...], path: Path) -> NDArray[Any]:
    for name in names:
        if name in archive.files:
            array: NDArray[Any] = archive[name]
            return array
    raise DataError(
        f"{path}: there is no array {' or '.join(map(repr, names))}, only "
        f"{', '.join(archive.files) or 'nothing'}."
    )


def _scalar(declared: NDArray[Any], path: Path) -> int:
    if declared.size != 1 or declared.dtype.kind not in "ui" or declared.item() < 2:
        raise DataError(f"{path}: num_classes must be one integer, at least 2.")
    return int(declared.item())
