"""The CSV format of Shokri's sets: no header, a label 1..C first (maybe quoted), then bits.

Purchase100 (`dataset_purchase`) and Location30 (`bangkok`) are published in this format; Texas100
has a separate file of labels.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from jaxtyping import Int64, UInt8

from selena.errors import DataError
from selena.files.reading import border

# Lines parsed at once: limits the memory beside the result to some tens of MB.
_BLOCK = 512

# Most digits of a label that is read as a number.
_DIGITS = 9

Block = tuple[UInt8[np.ndarray, "n width"], Int64[np.ndarray, " n"]]
"""Bits in {0, 1} of some records, and their labels in [0, classes)."""


def longest_row(width: int) -> int:
    """Return the largest size in bytes of a row of `width` bits, with every cell in quotes."""
    return 8 * (width + 1) + 64


def read_label_first(lines: Iterable[bytes], *, name: str, classes: int, width: int) -> Block:
    """Read all bits and labels from label-first CSV text.

    Arguments and errors are those of `label_first_blocks`, whose blocks it joins.
    """
    blocks = list(label_first_blocks(lines, name=name, classes=classes, width=width))
    return (
        np.concatenate([bits for bits, _ in blocks]),
        np.concatenate([labels for _, labels in blocks]),
    )


def label_first_blocks(
    lines: Iterable[bytes], *, name: str, classes: int, width: int
) -> Iterator[Block]:
    """Yield bits and labels from label-first CSV text, some hundred records at a time.

    Args:
        lines: the CSV text line by line, as from a binary file.
        name: name of the text in error messages.
        classes: labels in the file run from 1 to `classes`.
        width: number of bits after the label.

    Yields:
        Bits in {0, 1}, n x width, and labels in [0, classes).

    Raises:
        DataError: if there is no row, or a row is blank, has another width, another label, or
            values other than 0 and 1; it names the row, counted from 1.
    """
    first_row, lines = 1, iter(lines)
    while block := list(islice(lines, _BLOCK)):
        parsed = _parse_plain(block, classes, width)
        yield parsed or _parse_cells(block, first_row, name, classes, width)
        first_row += len(block)
    if first_row == 1:
        raise DataError(f"{name}: the file is empty. Fetch it again.")


def _parse_plain(lines: list[bytes], classes: int, width: int) -> Block | None:
    """Parse lines whose bits are single characters between commas: a ten times faster way."""
    heads, tails = [], []
    for line in lines:
        head, _, tail = line.rstrip(b"\r\n").partition(b",")
        if len(tail) != 2 * width - 1:
            return None
        heads.append(head.strip(b'"'))
        tails.append(tail)
    if not all(head.isdigit() and len(head) <= _DIGITS for head in heads):
        return None
    labels = np.array([int(head) for head in heads], dtype=np.int64)
    cells = np.frombuffer(b"".join(tails), dtype=np.uint8).reshape(len(lines), -1)
    bits = cells[:, ::2] - ord("0")  # other characters wrap around to large numbers
    commas = bool((cells[:, 1::2] == ord(",")).all())
    good = commas and labels.min() >= 1 and labels.max() <= classes and bits.max() <= 1
    return (bits, labels - 1) if good else None


def _parse_cells(lines: list[bytes], first_row: int, name: str, classes: int, width: int) -> Block:
    """Parse lines cell by cell; raise `DataError` for the first bad one."""
    labels, rows = [], []
    for row, line in enumerate(lines, start=first_row):
        where = f"{name}, row {row}"
        with border(where, "this is no row of CSV text", "Fetch the file again."):
            # Latin-1 decodes any byte, so that a stray one is reported as a bad cell.
            text = line.decode("latin-1").rstrip("\r\n")
            cells = [cell.strip() for cell in next(csv.reader([text]), [])]
        if len(cells) != width + 1:
            raise DataError(
                f"{where}: {len(cells)} cells instead of {width + 1} (a label and {width} bits). "
                "Fetch the file again."
            )
        label, *bits = cells
        if not (label.isdecimal() and len(label) <= _DIGITS and 1 <= int(label) <= classes):
            raise DataError(
                f"{where}: the label is {label[:40]!r} instead of a number from 1 to {classes}. "
                "Fetch the file again."
            )
        if set(bits) - {"0", "1"}:
            column = next(i for i, bit in enumerate(bits) if bit not in {"0", "1"})
            raise DataError(
                f"{where}, column {column + 2}: {bits[column][:40]!r} is no bit. "
                "Fetch the file again."
            )
        labels.append(int(label) - 1)
        rows.append(np.array(bits) == "1")
    return np.array(rows, dtype=np.uint8), np.array(labels, dtype=np.int64)
