"""The command line: every command is one call into the library."""

from __future__ import annotations

from selena.cli.main import app, main

__all__ = ["app", "main"]
