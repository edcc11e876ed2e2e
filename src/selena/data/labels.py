"""Converts a user's labels to 0..C-1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from selena.data.cells import parse_number, shown
from selena.errors import DataError

# How pandas, R and spreadsheets write a missing value.
_MISSING = frozenset(
    {"#N/A", "<NA>", "N/A", "n/a", "NA", "NULL", "null", "NaN", "nan", "None", "-nan", "#N/A N/A"}
)


def check_words(labels: Shaped[np.ndarray, " n"], where: Callable[[int], str]) -> None:
    """Raise `DataError` where a label looks like a missing value, or has two spellings.

    Args:
        labels: one per record; only words are checked.
        where: names the file and record at an index.
    """
    if labels.dtype.kind != "U":
        return
    names, first = np.unique(labels, return_index=True)
    spelled: dict[str, str] = {}
    for name, index in sorted(zip(names.tolist(), first.tolist(), strict=True), key=lambda p: p[1]):
        if name in _MISSING and len(names) > 1:
            raise DataError(
                f"{where(index)}: is the label {name!r} a missing value? Then drop such rows; if "
                "it is a class, give it another name."
            )
        # Single letters may be different classes: A and a.
        known = spelled.setdefault(name.casefold(), name)
        if known != name and len(name) > 1:
            raise DataError(
                f"{where(index)}: the labels {shown(known)} and {shown(name)} differ in case only. "
                "If they are one class, use one spelling; if they are two, rename one of them."
            )


def encode_labels(
    values: Shaped[np.ndarray, " n"], *, what: str
) -> tuple[Int64[np.ndarray, " n"], tuple[str, ...]]:
    """Number the classes in the order of their labels.

    Whole numbers, and strings that all spell whole numbers, are in numeric order (gaps are
    closed). Any other strings are in alphabetical order.

    Args:
        values: one label per record.
        what: name of the labels in error messages.

    Returns:
        Labels in [0, C), and the C names that the classes had.

    Raises:
        DataError: if there are fewer than two classes, the labels are fractions (a quantity
            to predict, not a class), or two strings spell the same number.
    """
    names, inverse = np.unique(_as_integers(values, what), return_inverse=True)
    if len(names) < 2:
        raise DataError(
            f"{what}: every record has the label {shown(names[0])}. A classifier needs two classes."
        )
    return inverse.astype(np.int64), tuple(str(name) for name in names)


def spelled_numbers(values: Shaped[np.ndarray, " n"]) -> Float64[np.ndarray, " n"] | None:
    """Return labels as float64, or None if one is a word."""
    if values.dtype.kind != "U":
        return values.astype(np.float64)
    names, inverse = np.unique(values, return_inverse=True)
    try:
        numbers = np.array([parse_number(name) for name in names.tolist()])
    except ValueError:
        return None
    return np.asarray(numbers[inverse], dtype=np.float64)


def _as_integers(values: Shaped[np.ndarray, " n"], what: str) -> Shaped[np.ndarray, " n"]:
    """Return labels that are whole numbers as int64, other strings as they are."""
    if values.dtype.kind in "bui":
        if values.dtype == np.uint64 and bool((values > np.iinfo(np.int64).max).any()):
            raise DataError(f"{what}: {values.max()} is too large for a label. Number the classes.")
        return values.astype(np.int64)
    numbers = spelled_numbers(values)
    if numbers is None:
        return values  # names
    # From 2^53 on a float64 stands for several whole numbers; infinity and NaN for none.
    bad = (numbers != np.floor(numbers)) | ~(np.abs(numbers) < 2**53)
    if bad.any():
        raise DataError(
            f"{what}: the labels are numbers, but not whole ones ({shown(values[bad][0])}). "
            "Give each record a class: cut a quantity into ranges first."
        )
    spelled: dict[float, str] = {}
    for value, number in zip(values.tolist(), numbers.tolist(), strict=True):
        if isinstance(value, str) and spelled.setdefault(number, value) != value:
            raise DataError(
                f"{what}: {shown(spelled[number])} and {shown(value)} spell one number. If they "
                "are one class, write it in one way; if they are two, give them names."
            )
    return numbers.astype(np.int64)
