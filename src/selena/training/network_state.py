"""The state of one network in training: optimizer, epochs done, best weights, artifacts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn

from selena.training.checkpoint import Part, pack, select, unpack
from selena.training.job import Job
from selena.training.memory import keep_freed_memory
from selena.training.optimizer import Optimizer
from selena.training.recipe import Recipe
from selena.workspace import Workspace


def artifact_name(job: Job, key: str) -> str:
    """Return the name under which a job's finished network is kept."""
    return f"{job.name}-{key[:24]}"


class NetworkState:
    """The state of one network in training, which can be written to a checkpoint and resumed.

    Attributes:
        job: the rows and the seed.
        network: the network.
        epochs_done: number of finished epochs.
        rate: learning rate of its last step.
    """

    def __init__(
        self,
        job: Job,
        *,
        key: str,
        network: nn.Module,
        recipe: Recipe,
        workspace: Workspace,
        beside: Mapping[str, Part] | None = None,
    ) -> None:
        """Prepare a state.

        Args:
            job: the rows and the seed.
            key: unique to architecture, data, rows, recipe and seed.
            network: the network.
            recipe: how it is trained.
            workspace: keeps the finished network and checkpoints.
            beside: other parts of a checkpoint (an adversary that trains in step with it).
        """
        self.job = job
        self._name = artifact_name(job, key)
        self.network = network
        self.epochs_done = 0
        self.rate = 0.0
        self._recipe = recipe
        self._workspace = workspace
        self._best: dict[str, Tensor] | None = None
        self._best_accuracy = -1.0
        self._last_checkpoint = time.monotonic()
        self._optimizer: Optimizer | None = None
        self._beside = dict(beside or {})

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer; it exists between `start` and `finish`."""
        assert self._optimizer is not None
        return self._optimizer

    @property
    def _parts(self) -> dict[str, Part]:
        return {"network": self.network, "optimizer": self.optimizer, **self._beside}

    @property
    def _checkpoint_name(self) -> str:
        return f"{self._name}-checkpoint"

    def load_finished(self) -> bool:
        """Load the finished network if it was kept; return whether it was."""
        state = self._workspace.load(self._name)
        if state is None:
            return False
        self.network.load_state_dict(state)
        self.epochs_done = self._recipe.epochs
        self._workspace.discard(self._checkpoint_name)  # left over if a kill preceded its removal
        return True

    def start(self) -> None:
        """Make the optimizer, and resume from a kept checkpoint if there is one.

        A state that was found finished keeps its place in the cohort, but trains no more.

        Call it after the parameters are in their final place (a stack moves them).
        """
        keep_freed_memory()
        self._optimizer = Optimizer(self.network.parameters(), self._recipe)
        kept = self._workspace.load(self._checkpoint_name)
        if kept is None or self.epochs_done == self._recipe.epochs:
            return
        self.epochs_done = int(kept["epochs_done"])
        self._best_accuracy = float(kept["best_accuracy"])
        self._best = select(kept, "best") or None
        unpack(kept, self._parts)

    def step(self, rate: float) -> None:
        """Apply the gradients of the network's parameters, and drop them."""
        self.rate = rate
        self.optimizer.step(rate)

    def end_epoch(self, validation_accuracy: float | None) -> None:
        """Count an epoch, remember the best weights, and write a checkpoint when one is due."""
        self.epochs_done += 1
        if validation_accuracy is not None and validation_accuracy > self._best_accuracy:
            self._best_accuracy = validation_accuracy
            self._best = deepcopy(self.network.state_dict())
        elapsed = time.monotonic() - self._last_checkpoint
        unfinished = self.epochs_done < self._recipe.epochs
        if unfinished and elapsed >= self._workspace.checkpoint_seconds:
            self._workspace.save(self._checkpoint_name, self._checkpoint())
            self._last_checkpoint = time.monotonic()

    def finish(self) -> None:
        """Load the selected weights, keep them, and drop the checkpoint."""
        if self._best is not None:
            self.network.load_state_dict(self._best)
        for parameter in self.network.parameters():
            # A stacked network's tensors are views into the stack, whose memory is freed here.
            parameter.data = parameter.data.clone()
            parameter.grad = None
        for buffer in self.network.buffers():
            buffer.data = buffer.data.clone()
        self._optimizer = None
        self._workspace.save(self._name, self.network.state_dict())
        self._workspace.discard(self._checkpoint_name)

    def _checkpoint(self) -> dict[str, Tensor]:
        tensors = {
            "epochs_done": torch.tensor(self.epochs_done),
            "best_accuracy": torch.tensor(self._best_accuracy, dtype=torch.float64),
        }
        tensors |= {f"best/{name}": t for name, t in (self._best or {}).items()}
        return tensors | pack(self._parts)
