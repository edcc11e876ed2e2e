"""Tables of pages that a script writes: they stand between two marks."""

from __future__ import annotations


def renewed(page: str, begin: str, table: str, end: str) -> str:
    """Return the page with `table` between the marks `begin` and `end`, in place of what was there.

    Raises:
        ValueError: the page lacks a mark.
    """
    before, begins, rest = page.partition(begin)
    _, ends, after = rest.partition(end)
    if not (begins and ends):
        raise ValueError(f"the page has no {begin} before {end}")
    return f"{before}{begin}\n{table}\n{end}{after}"
