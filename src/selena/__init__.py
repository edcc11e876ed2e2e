"""Train classifiers with membership privacy, attack them, report what leaks."""

from __future__ import annotations

__version__ = "0.1.0"
