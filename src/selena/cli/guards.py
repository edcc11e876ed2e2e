"""What surrounds every command: signals, exit codes and warnings.

Ctrl-C and SIGTERM end a command cleanly; a message says what was kept and how to continue. A
command with a gate has exit codes of its own. A warning is one line.
"""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from selena.errors import AuditWarning
from selena.files.escaping import printable
from selena.reports.console import SafeConsole

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
_NOTHING = "No file was left half-written; run the same command again."

_kept = [_NOTHING]

NOT_JUDGED = 1
"""The exit code of a command whose gate is unresolved."""


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


class Judged(SystemExit):
    """Ends a command whose gate has reached its verdicts, with their exit code."""


@contextmanager
def verdicts_own_their_codes(arguments: Sequence[str]) -> Iterator[None]:
    """With a gate, reserve exit code 2 for "unresolved" and end with 1 on errors.

    Without a gate, 2 is the code of a wrong option or an unreadable file. A pipeline that accepts
    "unresolved" must not accept these errors.

    Args:
        arguments: the command line, without the program.
    """
    try:
        yield
    except Judged:
        raise
    except SystemExit as stop:
        gated = any(argument.startswith("--fail-if") for argument in arguments)
        if gated and stop.code == 2:
            raise SystemExit(NOT_JUDGED) from None
        raise


@contextmanager
def warnings_in_a_line() -> Iterator[None]:
    """Show each warning as one line; warnings about audits are shown every time."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        text = printable(f"Warning: {message}")
        console.print(text, style="yellow", markup=False, highlight=False)

    console = SafeConsole(stderr=True, soft_wrap=True)
    with warnings.catch_warnings():
        warnings.simplefilter("always", AuditWarning)
        warnings.showwarning = show
        yield
