"""A terminal that shows names from files as plain text, without control characters or markup."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from selena.files.escaping import printable, printable_lines


class SafeConsole(Console):
    """Shows control characters in any text as escapes; `:names:` are no emoji."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"emoji": False, **options})

    def render_str(self, text: str, **options: Any) -> Text:
        """Return `text` as Rich shows it."""
        return super().render_str(printable_lines(text), **options)


def literal(text: str) -> str:
    """Return markup that shows `text` as it is, in one line."""
    return escape(printable(text))
