"""Progress bars with the time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from selena.workspace import Step


@dataclass(frozen=True)
class _RichStep:
    progress: Progress
    task: TaskID

    def advance(self, amount: float = 1.0) -> None:
        self.progress.advance(self.task, amount)


class RichProgress:
    """Shows every running step as a bar on the terminal's error stream, or nothing without one.

    Results go to the output stream, which may be a pipe.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._open = 0

    @contextmanager
    def step(self, description: str, total: float) -> Iterator[Step]:
        """Show a bar of `total` units for the length of a `with` block."""
        self._open += 1
        if self._open == 1:
            self._progress.start()
        task = self._progress.add_task(description, total=total)
        try:
            yield _RichStep(self._progress, task)
        finally:
            self._progress.remove_task(task)
            self._open -= 1
            if self._open == 0:
                self._progress.stop()
