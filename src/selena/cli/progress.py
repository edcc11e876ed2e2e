"""Progress bars with the remaining time; without a terminal, one line per stage."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from selena.files.escaping import printable
from selena.reports.console import SafeConsole
from selena.workspace import Step

_LEVELS = 3
"""Largest depth of nested steps that get a line."""


@dataclass(frozen=True)
class _RichStep:
    progress: Progress
    task: TaskID

    def advance(self, amount: float = 1.0) -> None:
        self.progress.advance(self.task, amount)


class RichProgress:
    """Shows every running step as a bar on the terminal's error stream.

    Without a terminal each step is one line at its start, with the minutes since the first step.
    Results go to the output stream, which may be a pipe.
    """

    def __init__(self) -> None:
        console = SafeConsole(stderr=True)
        self._in_lines = not console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=self._in_lines,
        )
        self._open = 0
        self._start = time.monotonic()
        self._last = ""

    @contextmanager
    def step(self, description: str, total: float) -> Iterator[Step]:
        """Show a bar of `total` units for the length of a `with` block."""
        self._open += 1
        if self._open == 1:
            self._progress.start()
        description = printable(description)
        self._line(description)
        task = self._progress.add_task(description, total=total)
        try:
            yield _RichStep(self._progress, task)
        finally:
            self._progress.remove_task(task)
            self._open -= 1
            if self._open == 0:
                self._progress.stop()

    def _line(self, description: str) -> None:
        if self._in_lines and self._open <= _LEVELS and description != self._last:
            minutes = (time.monotonic() - self._start) / 60
            indent = "  " * (self._open - 1)
            print(f"{minutes:6.1f} min  {indent}{description}", file=sys.stderr, flush=True)
            self._last = description
