"""Ctrl-C and SIGTERM: ends a command cleanly, and says what was kept and how to continue."""

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
    """Raised when a signal ends this process; not KeyboardInterrupt, which Typer hides.

    Attributes:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """The exit code that shells use for a process ended by this signal."""
        return 128 + self.number

    @property
    def message(self) -> str:
        """One line: what happened, what was kept, and how to continue."""
        return f"Stopped by {_NAMES[signal.Signals(self.number)]}. {_kept[0]}"


def keeps_work_in(folder: Path) -> None:
    """Make the message of a stopped command say that finished work is kept in `folder`."""
    _kept[0] = (
        f"Finished models, attacks and checkpoints are kept in {folder}; run the same command "
        "again to continue."
    )


def keeps_downloads_in(folder: Path) -> None:
    """Make the message of a stopped command say that downloads are kept in `folder`."""
    _kept[0] = f"Downloads are kept in {folder}; run the same command again to continue."


@contextmanager
def stoppable() -> Iterator[None]:
    """Make the first signal in the block raise `Stopped`; a second one kills the process.

    A signal that was ignored before stays ignored, such as Ctrl-C in a background script.
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
