"""Exit codes of commands with a gate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

NOT_JUDGED = 1
"""The exit code of a command whose gate is unresolved."""


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
