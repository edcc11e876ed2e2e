"""The version, on its own so that every room may read it."""

from __future__ import annotations

__version__ = "0.1.0"
