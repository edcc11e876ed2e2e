"""Shows warnings of a command as one line each, without a place in the source code."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from selena.errors import AuditWarning
from selena.files.escaping import printable
from selena.reports.console import SafeConsole


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
