"""Resumable training for defenses that write their own training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from selena.environment.fingerprint import code_digest, fingerprint, tensor_digest
from selena.environment.processor import numeric_environment
from selena.errors import ConfigError
from selena.networks import NetworkFactory
from selena.seeding import seeded
from selena.training.checkpoint import Part
from selena.training.inference import accuracy
from selena.training.job import Examples, Job
from selena.training.network_state import NetworkState
from selena.training.recipe import Recipe
from selena.training.task import build
from selena.types import Records
from selena.workspace import Workspace


@runtime_checkable
class Trains(Protocol):
    """A defense that trains one network: a frozen dataclass of all its settings."""

    @property
    def network(self) -> NetworkFactory:
        """Builds the network."""

    @property
    def recipe(self) -> Recipe:
        """Optimizer, schedule and selection."""


class OwnLoop:
    """Makes a training loop resumable: a resumed run gives the same bytes as an undisturbed one.

    A defense that cannot train by `fit_single` writes the steps of one epoch itself. This is the
    whole of its `fit`:

        workspace = workspace or Workspace()
        loop = OwnLoop(self, "mine", train, validation, seed=seed, workspace=workspace)
        x, y = train.x.to(loop.device), train.y.to(loop.device)

        def train_epoch(epoch: int) -> None:
            loop.network.train()
            generator = torch_generator(seed, "batches", epoch)
            batches = shuffled_batches(loop.rows, self.recipe.batch_size, generator)
            for step, rows in enumerate(batches):
                logits = loop.network(as_input(x[rows]))
                per_example_loss(logits, y[rows], "cross_entropy").mean().backward()
                loop.step(self.recipe.rate_at(epoch, step, len(batches)))

        return NetworkModel(loop.run(train_epoch), self.num_classes, workspace.device)

    In the workspace's folder the loop keeps checkpoints, and then the finished network. Their
    names hold a digest of the defense's settings and code, the records, the seed and the
    processor, so other work never finds them. Two rules:

    - Each random draw of an epoch comes from a generator seeded by seed and epoch. PyTorch's
      global generators are already seeded so.
    - Anything else that an epoch changes (another network, its optimizer) is in `beside`.

    Attributes:
        network: the network in training, on `device`; the seed determines its initial weights.
        rows: all row numbers of `train`.
        device: where it trains.
    """

    def __init__(
        self,
        defense: Trains,
        name: str,
        train: Records,
        validation: Records,
        *,
        seed: int,
        workspace: Workspace,
        beside: Mapping[str, Part] | None = None,
    ) -> None:
        """Build the network.

        Args:
            defense: all its settings; its `network` is built, its `recipe` gives optimizer, epochs
                and selection.
            name: what the kept network and the progress bar are called.
            train: members.
            validation: non-members; they select the epoch if the recipe says so.
            seed: root of every draw.
            workspace: device, progress and folder.
            beside: other networks and optimizers that train in step.
        """
        if defense.recipe.train is not None or not isinstance(defense.recipe.augmentation, str):
            raise ConfigError(
                f"{type(defense).__name__} has a training loop of its own. Use a recipe without "
                "train, and with an augmentation by name."
            )
        self.device = workspace.torch_device
        self.network: nn.Module = build(defense.network, seed, self.device)
        self.rows = torch.arange(len(train))
        self._name, self._recipe, self._seed = name, defense.recipe, seed
        self._progress = workspace.progress
        self._validation = Examples(validation.x, validation.y)
        records = [tensor_digest(each.x, each.y) for each in (train, validation)]
        numeric = numeric_environment(workspace.device)
        self._state = NetworkState(
            Job(name, self.rows, seed),
            key=fingerprint(defense, records, seed, code_digest(), numeric),
            network=self.network,
            recipe=self._recipe,
            workspace=workspace,
            beside=beside,
        )

    def run(self, train_epoch: Callable[[int], None], *, first_choice: int = 0) -> nn.Module:
        """Train the epochs that are left and return the network, in evaluation mode.

        Args:
            train_epoch: trains one epoch; it is called with the epoch's number, from 0.
            first_choice: epochs before this one are not selected.
        """
        state, epochs = self._state, self._recipe.epochs
        if not state.load_finished():
            state.start()
            with self._progress.step(self._name.capitalize(), epochs) as bar:
                bar.advance(state.epochs_done)
                for epoch in range(state.epochs_done, epochs):
                    with seeded(self._seed, "dropout", epoch):
                        train_epoch(epoch)
                    state.end_epoch(self._accuracy() if epoch >= first_choice else None)
                    bar.advance()
            state.finish()
        return self.network.eval()

    def step(self, rate: float) -> None:
        """Apply the gradients of `network` with the recipe's optimizer, and drop them."""
        self._state.step(rate)

    def _accuracy(self) -> float | None:
        if self._recipe.selection != "validation":
            return None
        return accuracy(self.network, self._validation, self.device)
