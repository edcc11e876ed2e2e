"""The command line: every command is one call into the library."""

from __future__ import annotations

import os

# Before PyTorch starts its threads: idle ones shall sleep. Spinning ones, the default, make
# training more than ten times slower as soon as another process uses a core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from selena.cli.main import app, main

__all__ = ["app", "main"]
