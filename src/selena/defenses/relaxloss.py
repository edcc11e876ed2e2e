"""RelaxLoss: training holds the loss at a level instead of driving it to zero.

Chen, Yu, Fritz, "RelaxLoss: Defending Membership Inference Attacks without Losing Utility",
ICLR 2022, Algorithm 1.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from selena.defenses.single import fit_single
from selena.errors import ConfigError
from selena.networks import NetworkFactory
from selena.training.forward import Forward
from selena.training.losses import per_example_loss
from selena.training.model import NetworkModel, restore_network
from selena.training.recipe import Recipe
from selena.types import Records
from selena.workspace import Workspace


@dataclass(frozen=True)
class RelaxedCrossEntropy:
    """Cross-entropy down to `alpha`; below it, up again and flattened in turns.

    Attributes:
        alpha: the level, in nats.
    """

    alpha: float

    def __call__(
        self,
        network: Forward,
        x: Float[Tensor, "b *features"],
        target: Int[Tensor, " b"],
        *,
        epoch: int,
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch: in even epochs ascent below the level, in odd flattening."""
        logits = network(x)
        loss = per_example_loss(logits, target, "cross_entropy").mean()
        if epoch % 2 == 0:
            return torch.where(loss >= self.alpha, loss, -loss)
        return torch.where(loss >= self.alpha, loss, _flattening(logits, target))


def _flattening(logits: Float[Tensor, "b c"], target: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    """Keep the label's probability as it is and draw the others to one level."""
    of_label = logits.detach().softmax(dim=1).gather(1, target[:, None])
    others = (1 - of_label) / max(logits.shape[1] - 1, 1)
    soft = others.expand_as(logits).scatter(1, target[:, None], of_label)
    return per_example_loss(logits, soft, "cross_entropy").mean()


@dataclass(frozen=True)
class RelaxLoss:
    """Trains so that the loss stays near a level (`RelaxedCrossEntropy`) and does not fall to 0.

    Attributes:
        network: builds the classifier.
        num_classes: number of classes.
        recipe: how it is trained.
        alpha: the level at which the loss is held, >= 0 nats; to be tuned for each data set.
    """

    network: NetworkFactory
    num_classes: int
    recipe: Recipe
    _: KW_ONLY
    alpha: float = 0.5

    def __post_init__(self) -> None:
        if not self.alpha >= 0:
            raise ConfigError(f"alpha is {self.alpha}; it must be at least 0.")

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> NetworkModel:
        """Train on all of `train`."""
        return fit_single(
            self.network,
            self.num_classes,
            replace(self.recipe, loss=RelaxedCrossEntropy(self.alpha)),
            train,
            validation,
            name="relaxloss",
            seed=seed,
            workspace=workspace,
        )

    def restore(self, state: dict[str, Tensor]) -> NetworkModel:
        """Rebuild the model from its `state`."""
        return restore_network(self.network, self.num_classes, state)
