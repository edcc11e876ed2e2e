"""Networks trained by a function of the user, with its own loop, optimizer and augmentation.

The function is part of a recipe, `Recipe(train=function)`, so `Undefended`, `SplitAI`, `Selena` and
others with a recipe can use it. Each network is one task. A finished network is kept under its
fingerprint, which includes the function's code. After a kill, finished networks are not trained
again; a network that was in training starts from the beginning.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from selena.errors import TrainingError
from selena.networks import NetworkFactory
from selena.seeding import seeded
from selena.training.cohort import OnEpoch
from selena.training.network_state import artifact_name
from selena.training.task import TrainingTask, Weights
from selena.types import Records
from selena.workspace import Step, Workspace


@dataclass(frozen=True, eq=False)
class FunctionTask(TrainingTask):
    """One network, trained by `recipe.train`."""

    def run(
        self, workspace: Workspace, bar: Step, on_epoch: OnEpoch | None = None
    ) -> list[Weights]:
        """Train the network unless it is kept, and return its weights, on the CPU.

        Raises:
            TrainingError: the function returns no network of this architecture, or weights that
                are not finite.
        """
        kept = self.finished(workspace)
        if kept is None:
            kept = [self._trained(workspace.device)]
            (job,), (key,) = self.jobs, self.keys
            workspace.save(artifact_name(job, key), kept[0])
        bar.advance(self.epochs)
        return kept

    def _trained(self, device: str) -> Weights:
        (job,), train = self.jobs, self.recipe.train
        assert train is not None
        rows = job.rows
        target, soft = self.examples.target[rows], None
        if target.is_floating_point():
            target, soft = target.argmax(dim=1), target
        records = Records(self.examples.x[rows], target, rows)
        # PyTorch's global generators are the function's own: it need not seed them.
        with seeded(job.seed, "own training"):
            network = train(self.factory, records, soft, job.seed, device)
        return _checked(network, self.factory, job.name)


def _checked(network: object, factory: NetworkFactory, name: str) -> Weights:
    if not isinstance(network, nn.Module):
        raise TrainingError(
            f"The training function returned a {type(network).__name__} for {name}. Return the "
            "trained nn.Module."
        )
    weights = {key: tensor.detach().cpu().clone() for key, tensor in network.state_dict().items()}
    with torch.device("meta"):
        expected = {key: tensor.shape for key, tensor in factory().state_dict().items()}
    found = {key: tensor.shape for key, tensor in weights.items()}
    if found != expected:
        differing = sorted(set(found.items()) ^ set(expected.items()))[0][0]
        raise TrainingError(
            f"The training function returned another architecture for {name} than network_factory "
            f"builds: they differ in {differing!r}. Build the network by network_factory()."
        )
    broken = [key for key, w in weights.items() if w.is_floating_point() and not w.isfinite().all()]
    if broken:
        raise TrainingError(
            f"The training function returned weights of {name} that are not finite ({broken[0]}). "
            "Lower the learning rate, or look for extreme feature values."
        )
    return weights
