"""RelaxLoss: training keeps the loss at a level instead of driving it to zero.

Chen, Yu, Fritz, "RelaxLoss: Defending Membership Inference Attacks without Losing Utility",
ICLR 2022, Algorithm 1.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from selena.defenses.single import SingleNetwork
from selena.errors import ConfigError
from selena.training.forward import Forward
from selena.training.losses import per_example_loss
from selena.training.recipe import Recipe
from selena.types import Records


@dataclass(frozen=True)
class RelaxedCrossEntropy:
    """Minimises cross-entropy down to `alpha`; below it, alternates ascent and flattening.

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
        """Return the loss of a batch; below the level, even epochs ascend and odd ones flatten."""
        logits = network(x)
        loss = per_example_loss(logits, target, "cross_entropy").mean()
        if epoch % 2 == 0:
            return torch.where(loss >= self.alpha, loss, -loss)
        return torch.where(loss >= self.alpha, loss, _flattening(logits, target))


def _flattening(logits: Float[Tensor, "b c"], target: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    """Keep the label's probability, and make the other classes equally probable."""
    of_label = logits.detach().softmax(dim=1).gather(1, target[:, None])
    others = (1 - of_label) / max(logits.shape[1] - 1, 1)
    soft = others.expand_as(logits).scatter(1, target[:, None], of_label)
    return per_example_loss(logits, soft, "cross_entropy").mean()


@dataclass(frozen=True)
class RelaxLoss(SingleNetwork):
    """Ordinary training with `RelaxedCrossEntropy`.

    Attributes:
        alpha: the level at which the loss is kept, >= 0 nats; tune it per data set.
    """

    name: ClassVar[str] = "relaxloss"
    _: KW_ONLY
    alpha: float = 0.5

    def __post_init__(self) -> None:
        if not self.alpha >= 0:
            raise ConfigError(f"alpha is {self.alpha}; it must be at least 0.")

    def training_recipe(self, train: Records, validation: Records) -> Recipe:
        """Return the recipe with the relaxed loss."""
        return replace(self.recipe, loss=RelaxedCrossEntropy(alpha=self.alpha))
