"""Ctrl-C and SIGTERM: a command ends in order, and says what was kept and how to go on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
_NOTHING = "No file was left half-written; run the same command again."

_kept = [_NOTHING]


class Stopped(BaseException):
    """Somebody asked this process to end. Typer would end silently by a KeyboardInterrupt.

    Attributes:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that a signal ended."""
        return 128 + self.number

    @property
    def message(self) -> str:
        """What happened, what was kept, and how to go on: one line."""
        return f"Stopped by {_NAMES[signal.Signals(self.number)]}. {_kept[0]}"


def keeps_work_in(folder: Path) -> None:
    """Say where a command that was stopped finds what it had finished."""
    _kept[0] = (
        f"Finished models, attacks and checkpoints are kept in {folder}; the same command goes on "
        "from there."
    )


def keeps_downloads_in(folder: Path) -> None:
    """Say where a command that was stopped finds what it had fetched."""
    _kept[0] = f"What was fetched is kept in {folder}; the same command goes on from there."


@contextmanager
def stoppable() -> Iterator[None]:
    """Let both signals raise `Stopped` in the block, each once: a second one kills.

    A signal that is ignored, as Ctrl-C is in a script's background, stays ignored.
    """
    _kept[0] = _NOTHING
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _NAMES}
    ours = [number for number, handler in before.items() if handler is not signal.SIG_IGN]

    def stop(number: int, frame: FrameType | None) -> None:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)
        raise Stopped(number)

    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])
