"""What scripts write: results that say how they were made, and tables between marks of a page."""

from __future__ import annotations

import shlex
import sys
from typing import Any

from selena.environment.description import describe_environment


def how_made(benchmark: str) -> dict[str, Any]:
    """Return the command of this process and the machine, for the JSON of a result."""
    command = shlex.join(["python", "-m", f"benchmarks.{benchmark}", *sys.argv[1:]])
    return {"command": command, "environment": describe_environment()}


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
