"""Who runs what on a Ray cluster, and what follows from a loss: with a Ray of this process."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from selena.errors import ClusterError
from selena.pools import ray_pool
from selena.pools.ray_pool import Node, RayPool
from selena.pools.remote import Conditions, Outcome, TaskNeeds, conditions_here

NEEDS = TaskNeeds(threads=torch.get_num_threads())


class RayError(Exception):
    """What Ray raises for a lost worker."""


class RayTaskError(RayError):
    """What Ray raises for a function that did not even begin."""


class ObjectLostError(RayError):
    """What Ray raises for shared arrays that are gone."""


@dataclass
class FakeRay:
    """Runs a task when somebody waits for it.

    Attributes:
        machines: cores of each, by name.
        losing: machines that lose each task.
        broken: machines where no function begins.
        unlike: machines of other conditions.
        silent: machines that never answer.
        dead: machines that Ray's list calls dead.
        full: machines whose disk is full.
        forgets: how many tasks meet arrays that were lost.
        ran: which machine ran which task, in order.
        stored: what was put into the store.
        cancelled: how many tasks were stopped.
        in_vain: how often in a row somebody waited and nothing came.
    """

    machines: dict[str, float]
    losing: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    unlike: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    full: set[str] = field(default_factory=set)
    forgets: int = 0
    ran: list[str] = field(default_factory=list)
    stored: list[Any] = field(default_factory=list)
    cancelled: int = 0
    in_vain: int = 0

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {
                "NodeID": name,
                "NodeManagerHostname": name,
                "NodeManagerAddress": "10.0.0.1",
                "Alive": name not in self.dead,
                "Resources": {"CPU": cores},
            }
            for name, cores in self.machines.items()
        ]

    def is_initialized(self) -> bool:
        return True

    def put(self, value: Any) -> Any:
        self.stored.append(value)
        return value

    def wait(self, handles: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        ready = [each for each in handles if each.node not in self.silent][:1]
        self.in_vain = 0 if ready else self.in_vain + 1
        assert self.in_vain < 100, "waits forever"
        return ready, [each for each in handles if each not in ready]

    def get(self, handle: Callable[[], Any]) -> Any:
        return handle()

    def cancel(self, _handle: Any, *, force: bool) -> None:
        self.cancelled += force

    def submit(self, node: Any, _needs: Any, function: Any, *arguments: Any) -> Callable[[], Any]:
        def run() -> Any:
            self.ran.append(node.key)
            if node.key in self.broken:
                raise RayTaskError("ray::work()\nModuleNotFoundError: No module named 'selena'")
            if node.key in self.losing:
                raise RayError("The worker died")
            if self.forgets:
                self.forgets -= 1
                raise ObjectLostError("Failed to retrieve object")
            if node.key in self.full:
                return Outcome(node.key, error=("OSError", "No space left"), disk_full=True)
            outcome = function(*arguments)
            differs = ("instruction_set is odd",)
            return replace(outcome, refused=True, differences=differs) if odd else outcome

        odd = node.key in self.unlike
        run.node = node.key  # type: ignore[attr-defined]
        return run


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRay]:
    """A cluster of two machines of two tasks each."""
    fake = FakeRay({"a": 2.0 * NEEDS.threads, "b": 2.0 * NEEDS.threads, "head": 0.0})
    exceptions = ModuleType("ray.exceptions")
    found = (RayError, RayTaskError, ObjectLostError)
    vars(exceptions).update({each.__name__: each for each in found})
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setitem(sys.modules, "ray.exceptions", exceptions)
    monkeypatch.setattr(ray_pool, "_submit", fake.submit)
    yield fake
    assert not +vars(ray_pool)["_held"]  # nothing stays taken


def pool(asked: Conditions | None = None, address: str = "") -> RayPool:
    return RayPool(address, NEEDS, asked or conditions_here(NEEDS))


def double(task: int, x: np.ndarray) -> int:
    return 2 * task + int(x.sum())


ONE = np.ones(1)


def run(tasks: int = 6, made: RayPool | None = None) -> dict[int, int]:
    return dict((made or pool()).run(double, range(tasks), [ONE]))


def test_all_machines_work_and_share_arrays(ray: FakeRay) -> None:
    made = pool()
    assert made.slots() == 4
    assert run(made=made) == {i: 2 * i + 1 for i in range(6)}
    assert set(ray.ran) == {"a", "b"}
    run(made=made)
    assert sum(value is ONE for value in ray.stored) == 1  # found again by the second call


def test_lost_task_is_done_again_elsewhere(ray: FakeRay, caplog: pytest.LogCaptureFixture) -> None:
    ray.losing = {"a"}
    assert run() == {i: 2 * i + 1 for i in range(6)}
    assert "was lost on a (10.0.0.1) and is done again" in caplog.text
    assert ray.ran.count("a") <= 2  # what had begun there, and no more


def test_task_on_a_full_disk_is_done_elsewhere(
    ray: FakeRay, caplog: pytest.LogCaptureFixture
) -> None:
    ray.full = {"a"}
    assert run() == {i: 2 * i + 1 for i in range(6)}
    assert "was lost on a (10.0.0.1) and is done again (its disk is full; free" in caplog.text
    ray.full = {"a", "b"}
    with pytest.raises(ClusterError, match=r"lost 3 times, the last time on [ab] .*disk is full"):
        run()


def test_gpu_tasks_get_processes_of_their_own(
    ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}

    def remote(*functions: Any, **options: Any) -> Any:
        told.update(options)
        return functions[0] if functions else lambda function: function

    monkeypatch.setattr(ray, "remote", remote, raising=False)
    make = vars(ray_pool)["_remote"].__wrapped__
    assert make(double, False) is double
    assert not told
    assert make(double, True) is double
    assert told == {"max_calls": 1}


def test_lost_arrays_are_sent_again(ray: FakeRay, caplog: pytest.LogCaptureFixture) -> None:
    made = pool()
    run(made=made)
    ray.forgets = 1
    assert run(made=made) == {i: 2 * i + 1 for i in range(6)}
    assert sum(value is ONE for value in ray.stored) == 2
    assert "done again (Failed to retrieve object)" in caplog.text


def test_machine_without_network_is_lost(
    ray: FakeRay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ray.silent = {"a"}
    calls: list[str] = []
    monkeypatch.setattr(ray_pool, "_CALL", 0.0)

    def silent(node: Any) -> bool:
        calls.append(node.key)
        return False

    monkeypatch.setattr(ray_pool, "_answers", silent)
    assert run() == {i: 2 * i + 1 for i in range(6)}
    assert calls == ["a"] * 3
    assert "was lost on a (10.0.0.1) and is done again (its network is gone)" in caplog.text


def test_machine_that_ray_calls_dead_is_lost(
    ray: FakeRay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unreachable(_: Any) -> bool:
        raise AssertionError("a driver outside of the cluster calls nobody")

    monkeypatch.setattr(ray_pool, "_CALL", 0.0)
    monkeypatch.setattr(ray_pool, "_answers", unreachable)
    ray.silent = {"a"}
    arriving = pool(address="ray://head:10001").run(double, range(6), [ONE])
    found = [next(arriving)]
    ray.dead = {"a"}
    assert dict(found + list(arriving)) == {i: 2 * i + 1 for i in range(6)}
    assert "was lost on a (10.0.0.1) and is done again (Ray counts it as dead)" in caplog.text
    assert set(ray.ran) == {"b"}


def test_daemon_that_refuses_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = vars(ray_pool)["_answers"]
    node = Node("a", "a", 1.0, 0.0)
    assert answers(node)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert answers(replace(node, daemon=closed.getsockname()))

    def wait(*_: Any, **__: Any) -> None:
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", wait)
    assert not answers(replace(node, daemon=("10.0.0.1", 1)))


def test_third_loss_ends_with_the_machines_name(ray: FakeRay) -> None:
    ray.losing = {"a", "b"}
    with pytest.raises(ClusterError, match=r"was lost 3 times, the last time on [ab] \(10"):
        run()
    assert ray.cancelled


def test_unlike_machine_takes_no_part(ray: FakeRay, caplog: pytest.LogCaptureFixture) -> None:
    ray.unlike = {"b"}
    assert run() == {i: 2 * i + 1 for i in range(6)}
    assert caplog.text.count("b (10.0.0.1) takes no part: instruction_set is odd") == 1
    ray.unlike = {"a", "b"}
    with pytest.raises(ClusterError, match=r"No machine may take part .*instruction_set.*--mixed"):
        run()


def test_machine_without_selena_is_named(ray: FakeRay) -> None:
    ray.broken = {"a", "b"}
    with pytest.raises(ClusterError, match=r"could not begin on [ab] .*No module named 'selena'"):
        run()


def test_too_small_machines_are_listed(ray: FakeRay) -> None:
    big = replace(pool(), needs=TaskNeeds(threads=1000))
    with pytest.raises(ClusterError, match=r"needs 1000 cores .* there are a \(10.*OMP_NUM"):
        run(made=big)


def test_stopping_cancels_what_runs(ray: FakeRay) -> None:
    arriving = pool().run(double, range(6), [ONE])
    next(arriving)
    arriving.close()  # type: ignore[attr-defined]
    assert ray.cancelled >= 1
