"""What a command with a gate exits with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

NOT_JUDGED = 1
"""What a command with a gate exits with when anything kept it from judging."""


class Judged(SystemExit):
    """The end of a command whose gate came to its verdicts; the code is theirs."""


@contextmanager
def verdicts_own_their_codes(arguments: Sequence[str]) -> Iterator[None]:
    """Let 2 mean "unresolved" alone: a gate kept from judging by an error ends with 1.

    Everywhere else 2 is what a wrong option or a file that cannot be read ends with; a pipeline
    that lets "unresolved" pass must not let those pass.

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
