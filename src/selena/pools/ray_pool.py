"""Machines of a Ray cluster.

This process decides which machine runs which task, so that it knows whom an error or a loss is
from. What is lost with a machine is done again on another. Arrays that tasks share are put into
Ray's object store, which holds them once per machine, for as long as the workspace is in use.
"""

from __future__ import annotations

import logging
import socket
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any, TypeVar

import numpy as np

from selena.errors import ClusterError, ConfigError
from selena.pools.remote import (
    DISK_FULL,
    Conditions,
    Outcome,
    TaskNeeds,
    Terms,
    conditions_here,
    task_name,
    work,
)

R = TypeVar("R")

_TRIES = 3
"""So often a task may lose its worker: one that takes the machine's memory never ends."""
_LOOK = 1.0  # seconds between two looks at which machines there are
_PATIENCE = 120.0  # seconds for a machine to start a worker
_CALL = 5.0  # seconds between two calls of the machines that work
_SILENCES = 3  # so many calls in a row without an answer, and a machine is lost
_KEPT = 4  # arrays that stay for the next tasks
_LOG = logging.getLogger(__name__)

# Cores that tasks of this process hold, by machine; its threads share them.
_held: Counter[str] = Counter()
_lock = Lock()


@dataclass(frozen=True)
class Node:
    """A machine of the cluster.

    Attributes:
        key: Ray's name for it.
        host: its name and address.
        cores: that Ray may use.
        gpus: that Ray may use.
        daemon: address and port of its Ray daemon, which the driver must reach.
    """

    key: str
    host: str
    cores: float
    gpus: float
    daemon: tuple[str, int] | None = None

    def fits(self, needs: TaskNeeds) -> int:
        """Return how many such tasks it can run at once."""
        fits = self.cores // needs.threads
        if 0 < needs.gpus < 1:  # no task has parts of two
            return int(min(fits, self.gpus // 1 * int(1 / needs.gpus + 1e-9)))
        return int(min(fits, self.gpus // needs.gpus) if needs.gpus else fits)


@dataclass(frozen=True, eq=False)
class RayPool(Terms):
    """The machines of one cluster; `address` is ray://HOST:PORT.

    It is "" for the cluster of RAY_ADDRESS, or for one on this machine.
    """

    def slots(self) -> int:
        """Return how many tasks run at once on the machines of this moment."""
        connect(self.address)
        return max(1, sum(node.fits(self.needs) for node in nodes()))

    def run(
        self, function: Callable[..., R], tasks: Sequence[Any], shared: Sequence[Any]
    ) -> Iterator[tuple[int, R]]:
        """Yield the number and the result of each task, in order of arrival.

        Raises:
            ClusterError: no machine may take part; or a task failed, or lost its worker thrice.
            SelenaError: what a task raised, with the machine's name.
        """
        connect(self.address)
        calls, parts = self.calls(function, tasks, shared)
        handles = [self._put(part) for part in parts]
        round_ = _Round(self, [task_name(task, number) for number, task in enumerate(tasks)])
        try:
            while round_.unfinished:
                if round_.lacks_arrays:
                    self.memory.pop("arrays in the cluster", None)
                    handles = [self._put(part) for part in parts]
                    round_.lacks_arrays = False
                round_.start(calls, handles)
                for number, outcome in round_.finished():
                    self.note(outcome)
                    yield number, outcome.result(round_.names[number])
        finally:
            round_.cancel()

    def _put(self, part: Any) -> Any:
        """Return a handle on an array in the cluster; the next tasks find it there."""
        import ray

        if not isinstance(part, np.ndarray):
            return ray.put(part)
        kept: OrderedDict[Any, Any] = self.memory.setdefault("arrays in the cluster", OrderedDict())
        # The entry holds the array, so no other can lie at its address.
        name = part.__array_interface__["data"][0], part.shape, part.strides, part.dtype.str
        if name not in kept:
            kept[name] = part, ray.put(part)
        kept.move_to_end(name)
        handle = kept[name][1]
        while len(kept) > _KEPT:
            kept.popitem(last=False)
        return handle


class _Round:
    """The tasks of one call on their way."""

    def __init__(self, pool: RayPool, names: Sequence[str]) -> None:
        self.names = names
        self.lacks_arrays = False  # whether the cluster lost shared arrays
        self._pool = pool
        self._waiting = deque(range(len(names)))
        self._running: dict[Any, tuple[int, Node]] = {}
        self._losses: Counter[int] = Counter()
        self._lost: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._silent: Counter[str] = Counter()
        self._next_call = time.monotonic() + _CALL

    @property
    def unfinished(self) -> bool:
        """Whether there is anything to wait for."""
        return bool(self._waiting or self._running)

    def start(self, calls: Sequence[Any], handles: Sequence[Any]) -> None:
        """Start as many tasks as fit."""
        needs, usable = self._pool.needs, self._usable() if self._waiting else []
        while self._waiting:
            node = max(usable, key=lambda each: each.fits(needs) - _held[each.key] / needs.threads)
            if self._running and _held[node.key] + needs.threads > node.fits(needs) * needs.threads:
                return
            number = self._waiting.popleft()
            _hold(node, needs.threads)
            self._running[_submit(node, needs, work, calls[number], *handles)] = number, node

    def finished(self) -> Iterator[tuple[int, Outcome]]:
        """Wait a little, and yield what arrived."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        ready, _ = ray.wait(list(self._running), timeout=_LOOK)
        if not ready:
            self._lose_unreachable()
        for handle in ready:
            number, node = self._running.pop(handle)
            _hold(node, -self._pool.needs.threads)
            try:
                outcome = ray.get(handle)
            except RayTaskError as error:  # before `work` began, which catches all
                raise ClusterError(
                    f"{self.names[number]} could not begin on {node.host} ({_last_line(error)}). "
                    "Install the same version of selena there."
                ) from error
            except RayError as error:
                self._lose(number, node, error)
                continue
            if outcome.refused:
                self._waiting.appendleft(number)
                if node.key not in self._refused:
                    self._refused[node.key] = f"{node.host}: {'; '.join(outcome.differences)}"
                    _LOG.warning("%s takes no part: %s.", node.host, "; ".join(outcome.differences))
            elif outcome.disk_full:
                self._lose(number, node, OSError(DISK_FULL))
            else:
                yield number, outcome

    def cancel(self) -> None:
        """Stop what still runs."""
        import ray

        for handle, (_, node) in self._running.items():
            _hold(node, -self._pool.needs.threads)
            ray.cancel(handle, force=True)
        self._running.clear()

    def _lose(self, number: int, node: Node, error: Exception) -> None:
        """Put a task back whose worker died, was killed, or lost its data."""
        from ray.exceptions import ObjectLostError

        self.lacks_arrays |= isinstance(error, ObjectLostError)
        self._losses[number] += 1
        reason = _first_line(error)
        self._lost[node.key] = f"{node.host}: {reason}"
        if self._losses[number] >= _TRIES:
            raise ClusterError(
                f"{self.names[number]} was lost {self._losses[number]} times, the last time on "
                f"{node.host} ({reason}). What has arrived is kept: run the same command again."
            ) from error
        _LOG.warning(
            "%s was lost on %s and is done again (%s).", self.names[number], node.host, reason
        )
        self._waiting.appendleft(number)

    def _lose_unreachable(self) -> None:
        """Put back the tasks of machines that are gone: Ray itself may wait for minutes.

        A machine is gone when Ray's list says so, or when it answers no call. A driver outside of
        the cluster cannot call, and has the list alone.
        """
        if time.monotonic() < self._next_call:
            return
        self._next_call = time.monotonic() + _CALL
        alive = {node.key for node in nodes()}
        outside = self._pool.address.startswith("ray://")
        for node in {node.key: node for _, node in self._running.values()}.values():
            if node.key not in alive:
                self._lose_machine(node, "Ray counts it as dead")
                continue
            there = outside or _answers(node)
            self._silent[node.key] = 0 if there else self._silent[node.key] + 1
            if self._silent[node.key] >= _SILENCES:
                self._lose_machine(node, "its network is gone")

    def _lose_machine(self, node: Node, reason: str) -> None:
        """Put back all tasks of a machine."""
        import ray

        for handle, (number, where) in list(self._running.items()):
            if where.key == node.key:
                del self._running[handle]
                _hold(node, -self._pool.needs.threads)
                ray.cancel(handle, force=True)
                self._lose(number, node, ConnectionError(reason))

    def _usable(self) -> list[Node]:
        """Return who may run a task; those that lost one only where there is nobody else."""
        needs, there = self._pool.needs, nodes()
        fitting = [node for node in there if node.fits(needs)]
        willing = [node for node in fitting if node.key not in self._refused]
        if not willing:
            raise ClusterError(self._why_nobody(there, fitting))
        return [node for node in willing if node.key not in self._lost] or willing

    def _why_nobody(self, there: Sequence[Node], fitting: Sequence[Node]) -> str:
        if self._refused:
            told = " | ".join(self._refused.values())
            return (
                f"No machine may take part ({told}). Make them alike, or pass --mixed, which the "
                "report will say."
            )
        if self._lost:
            told = " | ".join(self._lost.values())
            return f"No machine is left ({told}). What has arrived is kept: run the command again."
        found = ", ".join(f"{n.host} ({n.cores:g} cores, {n.gpus:g} GPUs)" for n in there)
        needs = self._pool.needs
        return (
            f"A task needs {needs.threads} cores and {needs.gpus:g} GPUs; there are "
            f"{found or 'no machines'}. Set OMP_NUM_THREADS lower here, or start larger machines."
        )


def _answers(node: Node) -> bool:
    """Return whether a machine's Ray daemon takes a connection, or refuses one."""
    if node.daemon is None or not node.daemon[1]:
        return True
    try:
        with socket.create_connection(node.daemon, timeout=2.0):
            return True
    except ConnectionRefusedError:  # the machine is there; Ray will say what became of it
        return True
    except OSError:
        return False


def _hold(node: Node, cores: int) -> None:
    with _lock:
        _held[node.key] += cores


def connect(address: str) -> None:
    """Reach the cluster, once per process; without an address and RAY_ADDRESS, start one here.

    Raises:
        ConfigError: Ray is not installed.
        ClusterError: nobody answers.
    """
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "The executor ray needs Ray. Install it: pip install 'selena-privacy[ray]'."
        ) from error
    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not address:
        quiet["include_dashboard"] = False
    try:
        ray.init(address or None, **quiet)
    except Exception as error:  # of many kinds, some of them Ray's own
        raise ClusterError(
            f"No Ray cluster answers at {address or 'RAY_ADDRESS'} ({_first_line(error)}). Look "
            "whether it runs there, with `ray status`."
        ) from error


def nodes() -> list[Node]:
    """Return the machines that are alive and have cores."""
    import ray

    return [
        Node(
            each["NodeID"],
            f"{each['NodeManagerHostname']} ({each['NodeManagerAddress']})",
            each["Resources"].get("CPU", 0.0),
            each["Resources"].get("GPU", 0.0),
            (each["NodeManagerAddress"], each.get("NodeManagerPort", 0)),
        )
        for each in ray.nodes()
        if each["Alive"] and each["Resources"].get("CPU", 0.0)
    ]


def look(address: str, needs: TaskNeeds) -> dict[Node, Conditions | str]:
    """Return the conditions of each machine, or what went wrong there."""
    import ray

    connect(address)
    there = nodes()
    asked = {
        node: _submit(node, needs, conditions_here, needs) for node in there if node.fits(needs)
    }
    if asked:
        ray.wait(list(asked.values()), num_returns=len(asked), timeout=_PATIENCE)
    found: dict[Node, Conditions | str] = dict.fromkeys(there, "has too few cores or GPUs")
    for node, handle in asked.items():
        try:
            found[node] = ray.get(handle, timeout=0.1)
        except Exception as error:  # whatever it is, it is that machine's
            found[node] = _last_line(error)
    return found


def _submit(node: Node, needs: TaskNeeds, function: Callable[..., Any], *arguments: Any) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return (
        _remote(function, needs.gpus > 0)
        .options(
            num_cpus=needs.threads,
            num_gpus=needs.gpus,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.key, soft=False),
        )
        .remote(*arguments)
    )


@cache
def _remote(function: Callable[..., Any], on_gpu: bool) -> Any:
    """Return what Ray sends for a function: once for all its calls."""
    import ray

    # A process keeps the GPU that it used first, whichever Ray gives to its next task.
    return ray.remote(max_calls=1)(function) if on_gpu else ray.remote(function)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".")


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200].rstrip(".")
