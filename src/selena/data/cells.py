"""Cells of text: reading them as numbers, and showing them in messages."""

from __future__ import annotations

_WORDS = {"true": 1.0, "false": 0.0}


def parse_number(cell: str) -> float:
    """Return the number that a cell spells.

    Raises:
        ValueError: it spells none. 1_2 is none either (Python reads 12, but it is a code).
    """
    if "_" in cell or not cell.isascii():
        raise ValueError(f"{cell!r} is no number")
    return float(cell)


def as_number(cell: str) -> float:
    """Return the number that a cell spells; true and false are 1 and 0.

    Raises:
        ValueError: it spells none.
    """
    return _WORDS[cell.strip().lower()] if is_truth(cell) else parse_number(cell)


def is_truth(cell: str) -> bool:
    """Return whether a cell says true or false."""
    return cell.strip().lower() in _WORDS


def shown(cell: object, length: int = 40) -> str:
    """Return a cell as a message shows it, cut where it is long."""
    text = str(cell)
    return repr(text if len(text) <= length else text[:length] + "...")


def listed(names: tuple[str, ...] | list[str], count: int = 10) -> str:
    """Return the first of some names, each cut where it is long."""
    cut = [name if len(name) <= 40 else name[:40] + "..." for name in names[:count]]
    return ", ".join(cut) + (", ..." if len(names) > count else "")
