"""What every test can count on: fixed threads, no display, reproducible Hypothesis.

`SELENA_TEST_THREADS` gives another number of threads, and `SELENA_TEST_ORDER` shuffles files, and
tests in a file, by that seed: no verdict may depend on either.
"""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import wraps
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import settings
from jaxtyping import config

from tests import first_calls

first_calls.install()

os.environ.setdefault("MPLBACKEND", "Agg")

# One thread by default: the small tensors of tests gain nothing from more, and threads
# that wait for each other are slow where processes share the cores.
THREADS = int(os.environ.get("SELENA_TEST_THREADS", "1"))
os.environ["OMP_NUM_THREADS"] = str(THREADS)  # for the commands that tests start
torch.set_num_threads(THREADS)

# What tests download is not what their user would keep.
os.environ["SELENA_CACHE"] = tempfile.mkdtemp(prefix="selena-tests-")
atexit.register(shutil.rmtree, os.environ["SELENA_CACHE"], ignore_errors=True)

# The first example of a test pays for imports and caches, so deadlines only raise false alarms.
# CI takes the same 100 examples each time; elsewhere each run draws 25 others.
settings.register_profile("default", deadline=None, max_examples=25)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


# Of workers side by side, every second one collects files from the last to the first: of a fresh
# clone, each compiles a half of the tests instead of all, and reads the other half's bytecode.
BACKWARDS = os.environ.get("PYTEST_XDIST_WORKER", "gw0").endswith(tuple("13579"))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Reverse the files of a folder for every second worker."""
    report = yield
    if BACKWARDS and isinstance(collector, pytest.Dir):
        report.result.reverse()
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order files by name, or shuffle them and their tests by the seed in `SELENA_TEST_ORDER`."""
    items.sort(key=lambda item: item.path)  # alike in all workers, before any draw
    seed = os.environ.get("SELENA_TEST_ORDER")
    if seed is None:
        return
    draws = Random(seed)
    files = draws.sample(unique := sorted({item.path for item in items}), len(unique))
    place = {path: i for i, path in enumerate(files)}
    items.sort(key=lambda item: (place[item.path], draws.random()))


def pytest_collection_finish() -> None:
    """Let the garbage collector skip what was imported: each full pass over it takes 0.2 s."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Check shapes and types in every test."""
    first_calls.begin_test(item.nodeid.partition("[")[0])


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


def bounded(fit: Callable[..., Any], name: str, most: int) -> Callable[..., Any]:
    """Return an estimator's `fit` that bounds one of its parameters first."""

    @wraps(fit)
    def fit_bounded(estimator: Any, *what: Any, **how: Any) -> Any:
        setattr(estimator, name, min(most, getattr(estimator, name)))
        return fit(estimator, *what, **how)

    return fit_bounded


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write reports without their figure: drawing takes a second."""
    monkeypatch.setattr("selena.reports.figures.draw_report", lambda rows, path: path.touch())


@pytest.fixture
def in_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let documents and examples train for one epoch: that they run is tested, no figure."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

    from selena.defenses.memguard_noise import NoiseSearch
    from selena.training.task import TrainingTask

    def short(*what: Any) -> TrainingTask:
        task = TrainingTask(*what)
        return replace(task, recipe=replace(task.recipe, epochs=1))

    monkeypatch.setattr("selena.training.engine.TrainingTask", short)

    for kind, name, most in (
        (RandomForestClassifier, "n_estimators", 8),
        (HistGradientBoostingClassifier, "max_iter", 3),
    ):
        monkeypatch.setattr(kind, "fit", bounded(kind.fit, name, most))
    run = NoiseSearch.run
    monkeypatch.setattr(NoiseSearch, "run", lambda s, *what: run(replace(s, most_steps=3), *what))
