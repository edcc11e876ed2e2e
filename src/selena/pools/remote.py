"""What a task carries to another machine, and what that machine answers.

The bytes of a result depend on more than the task: on threads, precision, the processor and what it
is allowed, versions of libraries, and the code. A task carries all of it. A worker that differs
refuses, and says in what.
"""

from __future__ import annotations

import errno
import logging
import platform
import socket
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import cloudpickle
import torch

from selena import errors
from selena.environment.fingerprint import TRAINING_CODE, code_digest
from selena.environment.processor import numeric_environment
from selena.errors import ClusterError, SelenaError

_OTHER_CODE = ("attacks", "auditing", "experiments", "sklearn")
_LIBRARIES = ("numpy", "scipy", "scikit-learn", "safetensors")
_LOG = logging.getLogger(__name__)

DISK_FULL = (
    "its disk is full; free space there, or set JOBLIB_TEMP_FOLDER to a folder that has some"
)
"""Why a task failed, and what to do."""


@dataclass(frozen=True)
class TaskNeeds:
    """What one task needs of a machine.

    Attributes:
        threads: cores, each for one thread.
        gpus: GPUs, or the share of one.
        device: where it computes, as the worker's PyTorch names it.
    """

    threads: int = 1
    gpus: float = 0.0
    device: str = "cpu"


@dataclass(frozen=True)
class Conditions:
    """What the bytes of a result depend on besides the task.

    Attributes:
        numeric: processor, instruction set, threads, device, precision (`processor`).
        versions: of Python and of libraries.
        code: digest of this package's code that decides results.
    """

    numeric: dict[str, Any]
    versions: dict[str, str]
    code: str

    def differences(self, worker: Conditions) -> list[str]:
        """Return in what a worker's conditions differ from these, each as a short text."""
        mine = {**self.versions, **self.numeric, "code of selena": self.code[:12]}
        theirs = {**worker.versions, **worker.numeric, "code of selena": worker.code[:12]}
        return [
            f"{name} is {_shown(theirs.get(name))} instead of {_shown(value)}"
            for name, value in mine.items()
            if theirs.get(name) != value
        ]


def conditions_here(needs: TaskNeeds) -> Conditions:
    """Return those of this process."""
    return Conditions(
        numeric_environment(needs.device, needs.threads),
        {"Python": platform.python_version(), **{name: _version(name) for name in _LIBRARIES}},
        code_digest(*TRAINING_CODE, *_OTHER_CODE),
    )


@dataclass(frozen=True, eq=False)
class Call:
    """A task on its way.

    Attributes:
        what: the pickled function and its task, read by the worker alone.
        asked: conditions under which it is to run.
        needs: cores and device.
        mixed: whether it may run under others.
        layout: how many of the arrays beside it belong to each shared argument; None for one that
            is no tuple.
    """

    what: bytes
    asked: Conditions
    needs: TaskNeeds
    mixed: bool
    layout: tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a worker answers.

    Attributes:
        host: its name.
        value: the result.
        differences: in what its conditions differ.
        refused: whether it therefore did nothing.
        error: kind and message of what went wrong; empty where nothing did.
        trace: the worker's traceback.
        disk_full: whether it went wrong because a disk of the host is full.
    """

    host: str
    value: Any = None
    differences: tuple[str, ...] = ()
    refused: bool = False
    error: tuple[str, ...] = ()
    trace: str = ""
    disk_full: bool = False

    def result(self, name: str) -> Any:
        """Return the value of the task called `name`, or raise the error that the worker met."""
        if not self.error:
            return self.value
        kind, message = self.error
        _LOG.info("%s failed on %s:\n%s", name, self.host, self.trace)
        if self.disk_full:
            raise ClusterError(f"{name} failed on {self.host}: {DISK_FULL} ({message}).")
        known = getattr(errors, kind, None)
        if isinstance(known, type) and issubclass(known, SelenaError):
            raise known(f"{message} ({name}, on {self.host})")
        raise ClusterError(
            f"{name} failed on {self.host}: {kind}: {message}. Use --verbose to see its traceback."
        )


@dataclass(frozen=True, eq=False)
class Terms:
    """Where tasks are sent, and on what terms a machine takes part.

    Attributes:
        address: of the cluster.
        needs: what each task needs.
        asked: conditions that a machine must have.
        mixed: whether machines of other conditions take part.
        memory: what lives as long as the workspace: arrays in the cluster, and (under "mixed")
            which machines differed.
    """

    address: str
    needs: TaskNeeds
    asked: Conditions
    mixed: bool = False
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def named_conditions(self) -> dict[str, Any]:
        """What names of artifacts say of where they were made: mixed work has its own."""
        return {**self.asked.numeric, **({"mixed": True} if self.mixed else {})}

    def calls(
        self, function: Callable[..., Any], tasks: Sequence[Any], shared: Sequence[Any]
    ) -> tuple[list[Call], list[Any]]:
        """Pack the tasks; return them, and the parts of the shared arguments."""
        layout, parts = flatten(shared)
        packed = [
            Call(cloudpickle.dumps((function, task)), self.asked, self.needs, self.mixed, layout)
            for task in tasks
        ]
        return packed, parts

    def note(self, outcome: Outcome) -> None:
        """Remember which machine differed."""
        if outcome.differences:
            told = f"{outcome.host}: {'; '.join(outcome.differences)}"
            self.memory.setdefault("mixed", set()).add(told)


def flatten(shared: Sequence[Any]) -> tuple[tuple[int | None, ...], list[Any]]:
    """Return the layout of shared arguments, and their parts in a row: each travels by itself."""
    layout = tuple(len(each) if isinstance(each, tuple) else None for each in shared)
    return layout, [part for each in shared for part in _parts(each)]


def work(call: Call, *parts: Any) -> Outcome:
    """Run a task on this machine, unless its conditions are others: what a worker does."""
    host = socket.gethostname()
    try:
        torch.set_num_threads(call.needs.threads)
        torch.set_float32_matmul_precision(call.asked.numeric["float32_products"])
        differences = tuple(call.asked.differences(conditions_here(call.needs)))
        if differences and not call.mixed:
            return Outcome(host, differences=differences, refused=True)
        function, task = cloudpickle.loads(call.what)
        with warnings.catch_warnings():
            # Arrays lie in memory that all workers of a machine map; nobody writes there.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
            value = function(task, *_together(call.layout, parts))
        return Outcome(host, value, differences)
    except Exception as error:
        described = type(error).__name__, str(error)
        full = any(_is_full(each) for each in _chain(error))
        return Outcome(host, error=described, trace=traceback.format_exc(), disk_full=full)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def task_name(task: Any, number: int) -> str:
    """Return what messages call a task."""
    return str(getattr(task, "name", f"task {number + 1}"))


def _together(layout: Sequence[int | None], parts: Sequence[Any]) -> Iterator[Any]:
    left = iter(parts)
    for length in layout:
        yield next(left) if length is None else tuple(next(left) for _ in range(length))


def _parts(each: Any) -> tuple[Any, ...]:
    return each if isinstance(each, tuple) else (each,)


def _shown(value: Any) -> str:
    return "none" if value in (None, {}) else str(value)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
