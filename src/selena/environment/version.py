"""The version, on its own so that every room may read it."""

from __future__ import annotations

__version__ = "1.0.0"
