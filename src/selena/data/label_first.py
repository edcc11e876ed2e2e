"""The CSV form of Shokri's sets: no header, a label 1..C first (maybe quoted), then bits.

Purchase100 (`dataset_purchase`) and Location30 (`bangkok`) are published in it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from itertools import islice

import numpy as np
from jaxtyping import Int64, UInt8

from selena.errors import DataError

# Lines parsed at once: bounds the memory beyond the result to some tens of MB.
_BLOCK = 4096


def read_label_first(
    lines: Iterable[bytes], *, name: str, classes: int, width: int
) -> tuple[UInt8[np.ndarray, "n width"], Int64[np.ndarray, " n"]]:
    """Read bits and labels from label-first CSV text.

    Args:
        lines: the CSV text line by line, as from a binary file.
        name: what error messages call it.
        classes: labels in the file run from 1 to `classes`.
        width: number of bits after the label.

    Returns:
        Bits in {0, 1}, n x width, and labels in [0, classes).

    Raises:
        DataError: if there is no row, or a row is blank or of another width, or holds another
            label or anything but 0 and 1; it names the row, counted from 1.
    """
    features, labels = [], []
    first_row, lines = 1, iter(lines)
    # Latin-1 decodes any byte, so that a stray one is reported as a bad cell of its row.
    while block := [line.decode("latin-1") for line in islice(lines, _BLOCK)]:
        cells = _parse(block, classes, width)
        if cells is None:
            raise _explain(block, first_row, name, classes, width)
        labels.append(cells[:, 0] - 1)
        features.append(cells[:, 1:].astype(np.uint8))
        first_row += len(block)
    if not features:
        raise DataError(f"{name}: the file is empty. Fetch it again.")
    return np.concatenate(features), np.concatenate(labels)


def _parse(lines: list[str], classes: int, width: int) -> Int64[np.ndarray, "m cells"] | None:
    """Parse lines at full speed, or return None where any of them is bad."""
    if not all(map(str.strip, lines)):  # loadtxt would skip a blank line
        return None
    try:
        cells = np.loadtxt(
            lines, dtype=np.int64, delimiter=",", quotechar='"', comments=None, ndmin=2
        )
    except (ValueError, OverflowError):
        return None
    if cells.shape[1] != width + 1:
        return None
    label, bits = cells[:, 0], cells[:, 1:]
    good = label.min() >= 1 and label.max() <= classes and bits.min() >= 0 and bits.max() <= 1
    return cells if good else None


def _explain(lines: list[str], first_row: int, name: str, classes: int, width: int) -> DataError:
    """Say which of the lines is bad, and why."""
    for row, line in enumerate(lines, start=first_row):
        cells = next(csv.reader([line.rstrip("\r\n")]), [])
        where = f"{name}, row {row}"
        if len(cells) != width + 1:
            return DataError(
                f"{where}: {len(cells)} cells instead of {width + 1} (a label and {width} bits). "
                "Fetch the file again."
            )
        if cells[0] not in {str(label) for label in range(1, classes + 1)}:
            return DataError(
                f"{where}: the label is {cells[0]!r} instead of a number from 1 to {classes}. "
                "Fetch the file again."
            )
        for column, cell in enumerate(cells[1:], start=2):
            if cell not in {"0", "1"}:
                return DataError(
                    f"{where}, column {column}: {cell!r} is no bit. Fetch the file again."
                )
    return DataError(f"{name}: rows {first_row} to {first_row + len(lines) - 1} are unreadable.")
