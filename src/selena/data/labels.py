"""A user's labels -> 0..C-1."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64, Shaped

from selena.errors import DataError


def encode_labels(
    values: Shaped[np.ndarray, " n"], *, what: str
) -> tuple[Int64[np.ndarray, " n"], tuple[str, ...]]:
    """Number the classes in the order of their labels.

    Labels are whole numbers, or strings that all spell whole numbers, and then in numeric
    order (a gap in them is closed), or any other strings, in alphabetical order.

    Args:
        values: one label a record.
        what: what error messages call the labels.

    Returns:
        Labels in [0, C), and the C names that the classes had.

    Raises:
        DataError: if there are fewer than two classes, the labels are fractions (a quantity
            to predict, not a class), or strings spell one number in two ways.
    """
    names, inverse = np.unique(_as_integers(values, what), return_inverse=True)
    if len(names) < 2:
        raise DataError(
            f"{what}: every record has the label {str(names[0])!r}. A classifier needs two classes."
        )
    return inverse.astype(np.int64), tuple(str(name) for name in names)


def _as_integers(values: Shaped[np.ndarray, " n"], what: str) -> Shaped[np.ndarray, " n"]:
    """Return labels that are whole numbers as int64, other strings as they are."""
    if values.dtype.kind in "bui":
        return values.astype(np.int64)
    try:
        numbers = values.astype(np.float64)
    except ValueError:
        return values  # names
    # Beyond 2^53 (and for infinity and NaN) a float no longer is any one whole number.
    bad = (numbers != np.floor(numbers)) | ~(np.abs(numbers) < 2**53)
    if bad.any():
        raise DataError(
            f"{what}: the labels are numbers, but not whole ones ({str(values[bad][0])!r}). "
            "Give each record a class: cut a quantity into ranges first."
        )
    spelled: dict[float, str] = {}
    for value, number in zip(values.tolist(), numbers.tolist(), strict=True):
        if isinstance(value, str) and spelled.setdefault(number, value) != value:
            raise DataError(
                f"{what}: {spelled[number]!r} and {value!r} spell one number. If they are one "
                "class, write it in one way; if they are two, give them names."
            )
    return numbers.astype(np.int64)
