"""A training task: a cohort of networks to train, the unit of work that a worker gets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from selena.networks import NetworkFactory
from selena.seeding import seeded
from selena.training.cohort import Cohort, OnEpoch
from selena.training.job import Examples, Job
from selena.training.network_state import NetworkState, artifact_name
from selena.training.recipe import Recipe
from selena.workspace import Step, Workspace

Weights = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class TrainingTask:
    """Networks that train side by side.

    A task needs nothing else: its jobs hold the seeds, and its keys name the artifacts (finished
    networks, checkpoints) that it writes and finds again after a kill.

    Attributes:
        factory: builds a freshly initialised network.
        jobs: one per network.
        keys: one per job, unique to architecture, data, rows, recipe and seed.
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

    @property
    def name(self) -> str:
        """Name of the task in messages."""
        return ", ".join(job.name for job in self.jobs)

    def keep(self, workspace: Workspace, weights: Sequence[Weights]) -> None:
        """Keep weights that were trained elsewhere, as `run` does with its own."""
        for (job, key), each in zip(self._named, weights, strict=True):
            workspace.save(artifact_name(job, key), each)

    def finished(self, workspace: Workspace) -> list[Weights] | None:
        """Return the networks' weights if `workspace` keeps them all."""
        found = [workspace.load(artifact_name(job, key)) for job, key in self._named]
        whole = [weights for weights in found if weights is not None]
        return whole if len(whole) == len(found) else None

    def run(
        self, workspace: Workspace, bar: Step, on_epoch: OnEpoch | None = None
    ) -> list[Weights]:
        """Train the unfinished networks and return every network's weights, on the CPU."""
        states = [
            NetworkState(
                job,
                key=key,
                network=build(self.factory, job.seed, workspace.torch_device),
                recipe=self.recipe,
                workspace=workspace,
            )
            for job, key in self._named
        ]
        found = [state.load_finished() for state in states]
        if all(found):
            bar.advance(self.epochs)
        else:
            # Finished networks stay in the cohort, so that the others round as without a kill.
            cohort = Cohort(
                states,
                self.examples,
                self.recipe,
                self.validation,
                workspace,
                on_epoch=on_epoch,
                compile_networks=self.compiled,
            )
            cohort.run(bar)
        return [
            {name: tensor.cpu() for name, tensor in state.network.state_dict().items()}
            for state in states
        ]

    @property
    def _named(self) -> Iterator[tuple[Job, str]]:
        return zip(self.jobs, self.keys, strict=True)


def build(factory: NetworkFactory, seed: int, device: torch.device) -> nn.Module:
    """Return a network with initial weights drawn from `seed`."""
    with seeded(seed, "weights"):
        return factory().to(device)
