"""A group of networks to train: the unit of work that may run anywhere, any time, again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from selena.networks import NetworkFactory
from selena.seeding import seeded
from selena.training.group import Group, OnEpoch
from selena.training.job import Examples, Job
from selena.training.lane import Lane, piece_name
from selena.training.recipe import Recipe
from selena.workspace import Step, Workspace

Weights = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Task:
    """Networks that train side by side.

    It depends on nothing but itself: its jobs hold the seeds, its keys name the pieces that it
    keeps (finished networks, checkpoints) and finds again after it was killed.

    Attributes:
        factory: builds a freshly initialised network.
        jobs: one a network.
        keys: one a job, unique to architecture, data, rows, recipe and seed.
        recipe: how they are trained.
        examples: all records.
        validation: records for the selection of an epoch, or None.
        compiled: whether PyTorch's compiler makes kernels for the networks.
    """

    factory: NetworkFactory
    jobs: tuple[Job, ...]
    keys: tuple[str, ...]
    recipe: Recipe
    examples: Examples
    validation: Examples | None
    compiled: bool = False

    @property
    def epochs(self) -> int:
        """Epochs of all its networks together."""
        return len(self.jobs) * self.recipe.epochs

    def finished(self, workspace: Workspace) -> list[Weights] | None:
        """Return the networks' weights if `workspace` keeps them all."""
        found = [workspace.load(piece_name(job, key)) for job, key in self._named]
        whole = [weights for weights in found if weights is not None]
        return whole if len(whole) == len(found) else None

    def run(
        self, workspace: Workspace, bar: Step, on_epoch: OnEpoch | None = None
    ) -> list[Weights]:
        """Train what is not finished yet and return every network's weights, on the CPU."""
        lanes = [
            Lane(
                job,
                key=key,
                network=build(self.factory, job.seed, workspace.torch_device),
                recipe=self.recipe,
                workspace=workspace,
            )
            for job, key in self._named
        ]
        found = [lane.load_finished() for lane in lanes]
        if all(found):
            bar.advance(self.epochs)
        else:
            # With the finished ones: the others' products are then those of undisturbed training.
            group = Group(
                lanes,
                self.examples,
                self.recipe,
                self.validation,
                workspace,
                on_epoch=on_epoch,
                compile_networks=self.compiled,
            )
            group.run(bar)
        return [
            {name: tensor.cpu() for name, tensor in lane.network.state_dict().items()}
            for lane in lanes
        ]

    @property
    def _named(self) -> Iterator[tuple[Job, str]]:
        return zip(self.jobs, self.keys, strict=True)


def build(factory: NetworkFactory, seed: int, device: torch.device) -> nn.Module:
    """Return a network whose initial weights are those of `seed`."""
    with seeded(seed, "weights"):
        return factory().to(device)
