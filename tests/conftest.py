"""What every test can count on: fixed threads, no display, reproducible Hypothesis."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from jaxtyping import config

os.environ.setdefault("MPLBACKEND", "Agg")

# One thread: sums come out the same on every machine, the small tensors of tests gain nothing
# from more, and threads that wait for each other are slow where processes share the cores.
os.environ["OMP_NUM_THREADS"] = "1"  # for the commands that tests start
torch.set_num_threads(1)

# What is measured on this machine for tests is not what its user would measure.
os.environ["SELENA_CACHE"] = tempfile.mkdtemp(prefix="selena-tests-")
atexit.register(shutil.rmtree, os.environ["SELENA_CACHE"], ignore_errors=True)

# The first example of a test pays for imports and caches, so deadlines only raise false alarms.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Find a file too large for this repository, in SELENA_SHARED or ../shared, or skip the test.

    What lies beside a checkout may be anybody's folder of that name, so it is the file that counts.
    """
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("SELENA_SHARED", beside))

    def find(name: str) -> Path:
        if not (folder / name).is_file():
            pytest.skip(f"needs {name}, which is not in {folder}; name its folder in SELENA_SHARED")
        return folder / name

    return find


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Switch shape and type checks off, to see what a user gets who passes the wrong ones."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
