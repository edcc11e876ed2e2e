"""Where and how work is done (device, folder, progress), but not what is done.

A workspace without a folder keeps nothing. With a folder it keeps each finished artifact (a
sub-model, a checkpoint) as a separate safetensors file, from which killed work resumes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from selena.errors import ConfigError, StoreError
from selena.files.writing import atomic_path, sweep

WITHOUT_CLUSTER = ("local", "here")
"""Executors that need no cluster."""

T = TypeVar("T")


@runtime_checkable
class Step(Protocol):
    """One running progress bar."""

    def advance(self, amount: float = 1.0) -> None:
        """Advance the bar."""
        ...


@runtime_checkable
class Progress(Protocol):
    """Shows the progress of long steps."""

    def step(self, description: str, total: float) -> AbstractContextManager[Step]:
        """Open a bar of `total` units for the length of a `with` block."""
        ...


class _NoStep:
    def advance(self, amount: float = 1.0) -> None:
        pass


class Silent:
    """Shows no progress; the default of library calls."""

    @contextmanager
    def step(self, description: str, total: float) -> Iterator[Step]:
        """Show nothing."""
        yield _NoStep()


@runtime_checkable
class TrainingLog(Protocol):
    """Keeps the training curves of networks."""

    def scalars(self, name: str, epoch: int, values: Mapping[str, float]) -> None:
        """Log the values (loss, learning_rate, ...) of a network after `epoch` epochs."""
        ...


class NoLog:
    """A log that keeps nothing."""

    def scalars(self, name: str, epoch: int, values: Mapping[str, float]) -> None:
        """Keep nothing."""


@dataclass(frozen=True)
class Machines:
    """Which machines train long ensembles, by the options of `selena run`; see `Workspace`.

    Attributes:
        executor: "local", "ray", "ray://HOST:PORT" or "dask://HOST:PORT".
        mixed: whether machines of a cluster that round differently from this one may take part.
        task_gpus: GPUs, or the share of one, per task of a cluster; 0 to use `device`.
    """

    executor: str = "local"
    mixed: bool = False
    task_gpus: float = 0.0

    def __post_init__(self) -> None:
        check_executor(self.executor)


def check_executor(executor: str) -> None:
    """Raise `ConfigError` unless there is an executor of this name."""
    if executor not in (*WITHOUT_CLUSTER, "ray") and not executor.startswith(("ray://", "dask://")):
        raise ConfigError(
            f"Unknown executor {executor!r}. Use local, ray (the cluster of RAY_ADDRESS, or one "
            "on this machine), ray://HOST:PORT or dask://HOST:PORT."
        )


@dataclass(frozen=True)
class Workspace:
    """Where and how work is done: device, folder for finished artifacts, progress and log.

    Attributes:
        device: "cpu", "cuda", "cuda:1", ...
        folder: where artifacts are kept, or None to keep nothing.
        progress: shows progress.
        checkpoint_seconds: training time that may be lost when the process is killed.
        workers: processes that train the networks of an ensemble; 0 for one per core that this
            process may use. Each uses its share of the cores. On an accelerator there is one.
        cohort_size: networks of an ensemble that train side by side; 0 for a rule based on
            device and network (`selena.training.engine`).
        executor: where long ensembles train: "local" for processes of this machine; "ray",
            "ray://HOST:PORT" or "dask://HOST:PORT" for a cluster; "here" for this process only.
        mixed: whether machines of a cluster that round differently from this one may take part.
        task_gpus: GPUs, or the share of one, per task of a cluster; the task then trains on the
            worker's "cuda", regardless of `device`.
        cores: cores that processes share; 0 for those that this process may use.
        log: keeps training curves.
        touched: names of the artifacts saved or found so far (for `clear`).
        shared: objects in memory that several users of the workspace share (`share`).
    """

    _: KW_ONLY
    device: str = "cpu"
    folder: Path | None = None
    progress: Progress = field(default_factory=Silent)
    checkpoint_seconds: float = 20.0
    workers: int = 1
    cohort_size: int = 0
    executor: str = "local"
    mixed: bool = False
    task_gpus: float = 0.0
    cores: int = 0
    log: TrainingLog = field(default_factory=NoLog)
    touched: set[str] = field(default_factory=set)
    shared: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.folder is not None:  # a caller without types may give a string
            object.__setattr__(self, "folder", Path(self.folder))

    def share(self, name: str, make: Callable[[], T]) -> T:
        """Return the shared object `name`; the first call makes it by `make`."""
        if name not in self.shared:
            self.shared[name] = make()
        made: T = self.shared[name]
        return made

    def save(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Keep an artifact, written atomically; do nothing without a folder."""
        if self.folder is None:
            return
        self.touched.add(name)
        save_tensors(self.folder / f"{name}.safetensors", tensors)

    def load(self, name: str) -> dict[str, Tensor] | None:
        """Return a kept artifact, or None if there is none."""
        if self.folder is None:
            return None
        path = self.folder / f"{name}.safetensors"
        try:
            tensors = load_file(path)
        except FileNotFoundError:
            return None
        except SafetensorError as error:
            raise StoreError(f"{path} is damaged ({error}). Delete it and run again.") from error
        self.touched.add(name)
        return tensors

    def discard(self, name: str) -> None:
        """Delete a kept artifact."""
        if self.folder is not None:
            (self.folder / f"{name}.safetensors").unlink(missing_ok=True)
            self.touched.discard(name)

    def clear(self) -> None:
        """Delete every artifact that this workspace saved or found, and the folder if empty."""
        for name in sorted(self.touched):
            self.discard(name)
        if self.folder is not None:
            sweep(self.folder)
            with suppress(OSError):  # others still use it, or have already deleted it
                self.folder.rmdir()

    @property
    def torch_device(self) -> torch.device:
        """The device as PyTorch names it."""
        return torch.device(self.device)


def check_device(device: str) -> None:
    """Raise `ConfigError` unless PyTorch can compute on `device`."""
    if device == "cpu":
        return
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition(". ")[0].partition("\n")[0]
        raise ConfigError(
            f"device={device!r} cannot be used here ({reason}). Use cpu, or cuda where PyTorch "
            "finds a GPU (`selena env` says which)."
        ) from error


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file, whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    try:
        with atomic_path(path) as temporary:
            plain = {key: t.detach().cpu().contiguous() for key, t in tensors.items()}
            # Not by save_file, which would replace the file that is held open here.
            temporary.write_bytes(save(plain))
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{path} cannot be written ({error}).") from error
