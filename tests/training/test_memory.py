"""Training does not return memory to the system between its steps."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from selena.training.memory import keep_freed_memory

# Page faults a step, of the epoch that had fewest: first ones find memory still to be had. What a
# step asks for are blocks of some megabytes here.
PROGRAM = """
import resource
import torch
from selena.networks.mlp import MLP
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
from selena.training.task import Task
from selena.workspace import Silent, Workspace

faults = []

def count(*_):
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)

examples = Examples(torch.zeros(2048, 600, dtype=torch.uint8), torch.zeros(2048, dtype=torch.int64))
recipe = Recipe(epochs=5, precision="float32")
task = Task(MLP(600, 100), (Job("", torch.arange(2048), 0),), ("",), recipe, examples, None)
with Silent().step("", 0) as bar:
    task.run(Workspace("cpu"), bar, count)
print(min(b - a for a, b in zip(faults, faults[1:])) / 4)
"""


def faults_a_step(environment: dict[str, str]) -> float:
    settled = {k: v for k, v in os.environ.items() if not k.startswith(("GLIBC_", "MALLOC_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**settled, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="this system's allocator is not glibc's"
)
def test_steps_meet_memory_that_they_have_used_before() -> None:
    assert faults_a_step({}) < 100
    # The system's own way, which the environment can ask for, is another.
    assert faults_a_step({"MALLOC_TRIM_THRESHOLD_": "131072"}) > 500


def test_other_systems_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not keep_freed_memory.__wrapped__()


def test_what_the_environment_settles_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "131072")
    assert not keep_freed_memory.__wrapped__()
