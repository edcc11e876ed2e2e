"""The command line: every command is one call into the library."""

from __future__ import annotations

import os

# Set before PyTorch starts its threads, so that idle threads sleep. By default they spin, which
# makes training more than ten times slower as soon as another process uses a core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from selena.cli.main import app, main

__all__ = ["app", "main"]
