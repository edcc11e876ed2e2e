"""Train classifiers with membership privacy, attack them, report what leaks."""

from __future__ import annotations

from selena.version import __version__

__all__ = ["__version__"]
