"""What a task carries to another machine, and what a worker answers."""

from __future__ import annotations

import errno
import logging
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from selena.errors import ClusterError, ConfigError, TrainingError
from selena.pools.choose import is_remote, open_cluster, task_device
from selena.pools.ray_pool import Node, connect
from selena.pools.remote import (
    Conditions,
    Outcome,
    TaskNeeds,
    Terms,
    conditions_here,
    task_name,
    work,
)
from selena.workspace import Machines, Workspace, save_tensors


def threads_now() -> int:
    return torch.get_num_threads()


def answer(
    function: Any, task: Any, *shared: Any, asked: Conditions | None = None, mixed: bool = False
) -> Outcome:
    """Let this process be the worker."""
    needs = TaskNeeds(threads=threads_now())
    terms = Terms("", needs, asked or conditions_here(needs), mixed)
    (call,), parts = terms.calls(function, [task], shared)
    return work(call, *parts)


def add(task: int, pair: tuple[np.ndarray, np.ndarray], none: None, last: np.ndarray) -> float:
    assert none is None
    return float(task + pair[0].sum() + 10 * pair[1].sum() + 100 * last.sum())


def fail(task: Exception) -> None:
    raise task


def test_shared_arguments_arrive_as_they_were() -> None:
    one = np.ones(1)
    outcome = answer(add, 5, (one, 2 * one), None, 3 * one)
    assert outcome.result("sum") == 5 + 1 + 20 + 300
    assert outcome.host == socket.gethostname()


def test_unlike_worker_refuses_and_says_in_what() -> None:
    here = conditions_here(TaskNeeds(threads=threads_now()))
    other = replace(
        here,
        numeric={**here.numeric, "instruction_set": "AVX1024"},
        versions={**here.versions, "numpy": "1.0"},
        code="0" * 64,
    )
    outcome = answer(add, 1, asked=other)
    assert outcome.refused
    assert outcome.value is None
    told = "; ".join(outcome.differences)
    assert f"instruction_set is {here.numeric['instruction_set']} instead of AVX1024" in told
    assert f"numpy is {np.__version__} instead of 1.0" in told
    assert "code of selena is" in told
    one = np.ones(1)
    taken = answer(add, 1, (one, one), None, one, asked=other, mixed=True)
    assert not taken.refused
    assert taken.differences == outcome.differences
    assert taken.result("sum") == 112


def test_error_names_host_and_task(caplog: pytest.LogCaptureFixture) -> None:
    host = socket.gethostname()
    with caplog.at_level(logging.INFO), pytest.raises(ClusterError) as met:
        answer(fail, OSError("It broke")).result("job-3")
    assert str(met.value).startswith(f"job-3 failed on {host}: OSError: It broke")
    assert "Traceback" in caplog.text  # --verbose shows it
    assert "raise task" in caplog.text


def write(task: Path) -> None:
    save_tensors(task / "model.safetensors", {"weight": torch.zeros(1)})


def test_full_disk_is_told_with_its_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    outcome = answer(write, tmp_path)
    assert outcome.disk_full
    with pytest.raises(ClusterError) as met:
        outcome.result("model 3")
    told = str(met.value)
    assert told.startswith(f"model 3 failed on {socket.gethostname()}: its disk is full; free")
    assert "JOBLIB_TEMP_FOLDER" in told
    assert f"{tmp_path / 'model.safetensors'} cannot be written" in told
    assert not answer(fail, OSError(errno.EACCES, "Permission denied")).disk_full


def test_own_errors_keep_their_kind() -> None:
    with pytest.raises(TrainingError, match=r"not finite.*job-1, on "):
        answer(fail, TrainingError("The loss is not finite.")).result("job-1")


def test_task_has_a_name() -> None:
    assert task_name(3, 0) == "task 1"
    assert task_name(Machines, 0) == "task 1"


def test_unknown_executor() -> None:
    for wrong in ("rya", "ray:/host", ""):
        with pytest.raises(ConfigError, match="Use local, ray"):
            Machines(executor=wrong)
    assert [is_remote(Workspace(executor=e)) for e in ("local", "here", "ray")] == [0, 0, 1]


def test_ray_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"selena-privacy\[ray\]"):
        connect("")


def test_dask_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    pool = open_cluster(Workspace(executor="dask://127.0.0.1:1"), 1)
    with pytest.raises(ConfigError, match=r"selena-privacy\[dask\]"):
        pool.slots()
    with pytest.raises(ConfigError, match="GPUs are given to tasks by Ray"):
        open_cluster(Workspace(executor="dask://127.0.0.1:1", task_gpus=1.0), 1)


def test_mixed_work_has_names_of_its_own() -> None:
    needs = TaskNeeds()
    alike, mixed = (Terms("", needs, conditions_here(needs), m) for m in (False, True))
    assert alike.named_conditions == conditions_here(needs).numeric
    assert mixed.named_conditions != alike.named_conditions
    mixed.note(Outcome("odd", differences=("threads is 2 instead of 1",)))
    assert mixed.memory["mixed"] == {"odd: threads is 2 instead of 1"}


def test_needs_decide_how_many_tasks_fit() -> None:
    node = Node("key", "host", cores=16, gpus=2)
    assert node.fits(TaskNeeds(threads=3)) == 5
    assert [node.fits(TaskNeeds(gpus=share)) for share in (0.1, 0.25, 0.3, 0.6, 1, 2)] == [
        *(16, 8, 6, 2, 2, 1)
    ]  # never more than the cores, and no task on parts of two GPUs
    assert node.fits(TaskNeeds(threads=32)) == 0
    assert Node("key", "host", cores=16, gpus=0).fits(TaskNeeds(gpus=1)) == 0


def test_device_is_the_workers() -> None:
    assert task_device(Workspace(executor="ray", task_gpus=0.5)) == "cuda"
    assert task_device(Workspace(executor="ray")) == "cpu"
