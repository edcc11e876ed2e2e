"""Where and how work is done - device, folder, progress - never what comes out of it.

A workspace without a folder keeps nothing; one with a folder keeps each finished artifact (a
sub-model, a checkpoint) as its own safetensors file, so that killed work goes on from there.
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

T = TypeVar("T")


@runtime_checkable
class Step(Protocol):
    """One running progress bar."""

    def advance(self, amount: float = 1.0) -> None:
        """Move the bar on."""
        ...


@runtime_checkable
class Progress(Protocol):
    """Somebody who shows how far a long step has come."""

    def step(self, description: str, total: float) -> AbstractContextManager[Step]:
        """Open a bar of `total` units for the length of a `with` block."""
        ...


class _NoStep:
    def advance(self, amount: float = 1.0) -> None:
        pass


class Silent:
    """The progress of a library call: none."""

    @contextmanager
    def step(self, description: str, total: float) -> Iterator[Step]:
        """Show nothing."""
        yield _NoStep()


@runtime_checkable
class TrainingLog(Protocol):
    """Somebody who keeps the curves of networks in training."""

    def scalars(self, name: str, epoch: int, values: Mapping[str, float]) -> None:
        """Take the values (loss, learning_rate, ...) of a network after `epoch` epochs."""
        ...


class NoLog:
    """The log of those who asked for none."""

    def scalars(self, name: str, epoch: int, values: Mapping[str, float]) -> None:
        """Keep nothing."""


@dataclass(frozen=True)
class Workspace:
    """Where and how work is done: device, folder for finished artifacts, progress and log.

    Attributes:
        device: "cpu", "cuda", "cuda:1", ...
        folder: where artifacts are kept, or None to keep nothing.
        progress: who shows progress.
        checkpoint_seconds: how much training may be lost when the process is killed.
        workers: processes that train the networks of an ensemble; 0 for one per core that this
            process may use. Each computes with its share of them. On an accelerator there is one.
        cohort_size: networks of an ensemble that train side by side; 0 for a rule that goes by
            device and network (`selena.training.cohort_size`).
        executor: who trains long ensembles: "local" for processes of this machine; "ray",
            "ray://HOST:PORT" or "dask://HOST:PORT" for a cluster; "here" for this process alone.
        mixed: whether machines of a cluster may take part that round otherwise than this one.
        task_gpus: GPUs, or the share of one, that a task of a cluster gets; it then trains on
            the worker's "cuda", whatever `device` is here.
        cores: cores that threads are shared out by; 0 for those that this process may use.
        log: who keeps training curves.
        touched: names of the artifacts saved or found so far (for `clear`).
        shared: what those who work here hold in memory together (`share`).
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

    def share(self, name: str, make: Callable[[], T]) -> T:
        """Return what `make` made when `name` was first asked for."""
        if name not in self.shared:
            self.shared[name] = make()
        made: T = self.shared[name]
        return made

    def save(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Keep an artifact, atomically; without a folder, forget it."""
        if self.folder is None:
            return
        self.touched.add(name)
        save_tensors(self.folder / f"{name}.safetensors", tensors)

    def load(self, name: str) -> dict[str, Tensor] | None:
        """Return a kept artifact, or None where there is none."""
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
        """Forget a kept artifact."""
        if self.folder is not None:
            (self.folder / f"{name}.safetensors").unlink(missing_ok=True)
            self.touched.discard(name)

    def clear(self) -> None:
        """Forget every artifact that this workspace saved or found; an empty folder goes too."""
        for name in sorted(self.touched):
            self.discard(name)
        if self.folder is not None:
            sweep(self.folder)
            with suppress(OSError):  # others work in it, or were quicker
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
            # Not by save_file, which puts another file in the place of the one that is held.
            temporary.write_bytes(save(plain))
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{path} cannot be written ({error}).") from error
