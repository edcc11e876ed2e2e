"""Training does not return memory to the system between its steps."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from selena.training.memory import keep_freed_memory, release_freed_memory

# How many blocks of 16 MB, as a step asks for, the system was asked for by themselves.
PROGRAM = """
import ctypes
import torch
from selena.networks.mlp import MLP
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
from selena.training.task import TrainingTask
from selena.workspace import Silent, Workspace

examples = Examples(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64))
jobs = (Job("", torch.arange(2), 0),)
task = TrainingTask(MLP(3, 2, hidden=()), jobs, ("",), Recipe(), examples, None)
with Silent().step("", 0) as bar:
    task.run(Workspace(), bar)

class Counts(ctypes.Structure):
    _fields_ = [(str(i), ctypes.c_int) for i in range(10)]

c = ctypes.CDLL(None)
c.mallinfo.restype, c.malloc.restype = Counts, ctypes.c_void_p
before = getattr(c.mallinfo(), "3")
c.malloc(ctypes.c_size_t(16 << 20))
print(getattr(c.mallinfo(), "3") - before)
"""


def blocks_of_their_own(environment: dict[str, str]) -> int:
    settled = {k: v for k, v in os.environ.items() if not k.startswith(("GLIBC_", "MALLOC_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**settled, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout)


@pytest.mark.deep
@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="this system's allocator is not glibc's"
)
def test_training_keeps_the_memory_it_frees() -> None:
    assert blocks_of_their_own({}) == 0
    # The system's own way, which the environment can ask for, is another.
    assert blocks_of_their_own({"MALLOC_TRIM_THRESHOLD_": "131072"}) == 1


def test_other_systems_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not keep_freed_memory.__wrapped__()
    release_freed_memory()


def test_what_the_environment_settles_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "131072")
    assert not keep_freed_memory.__wrapped__()
