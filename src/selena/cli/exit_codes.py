"""Exit codes of commands with a gate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

NOT_JUDGED = 1
"""The exit code of a command with a gate that could not judge."""


class Judged(SystemExit):
    """The end of a command whose gate reached its verdicts; they set the exit code."""


@contextmanager
def verdicts_own_their_codes(arguments: Sequence[str]) -> Iterator[None]:
    """Reserve exit code 2 for "unresolved" if there is a gate; errors end with 1 then.

    Without a gate, 2 is the code of a wrong option or an unreadable file. A pipeline that accepts
    "unresolved" must not accept those.

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
