"""Convex-concave loss: a concave term keeps training losses spread out.

Liu, Feng, Zhuang, Cao, Wei, "Mitigating Privacy Risk in Membership Inference by Convex-Concave
Loss", ICML 2024, Section 4. With a convex loss alone, members' losses become similar to each other
and different from those of non-members.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar, Literal, get_args

from jaxtyping import Float, Int
from torch import Tensor

from selena.defenses.single import SingleNetwork
from selena.errors import ConfigError, unknown_name
from selena.training.forward import Forward
from selena.training.losses import per_example_loss
from selena.training.recipe import Recipe
from selena.types import Records

Concave = Literal["exponential", "quadratic"]


@dataclass(frozen=True)
class ConvexConcave:
    """The loss alpha * cross-entropy + (1 - alpha) * f(p), f concave, p the label's probability.

    Attributes:
        alpha: share of the cross-entropy.
        concave: f; "exponential" is -exp(p), "quadratic" is -(p + p^2 / 2).
    """

    alpha: float
    concave: Concave

    def __call__(
        self,
        network: Forward,
        x: Float[Tensor, "b *features"],
        target: Int[Tensor, " b"],
        *,
        epoch: int,
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch, the same in every epoch."""
        convex = per_example_loss(network(x), target, "cross_entropy")
        p = (-convex).exp()
        concave = -p.exp() if self.concave == "exponential" else -(p + p**2 / 2)
        return (self.alpha * convex + (1 - self.alpha) * concave).mean()


@dataclass(frozen=True)
class ConvexConcaveLoss(SingleNetwork):
    """Ordinary training with cross-entropy plus a concave term.

    Attributes:
        alpha: share of the cross-entropy, in (0, 1]; 1 is ordinary training. Tune it per data
            set.
        concave: the concave term, "exponential" or "quadratic".
    """

    name: ClassVar[str] = "convex-concave-loss"
    _: KW_ONLY
    alpha: float = 0.5
    concave: Concave = "exponential"

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise ConfigError(f"alpha is {self.alpha}; it lies in (0, 1].")
        if self.concave not in get_args(Concave):
            raise unknown_name("concave term", self.concave, get_args(Concave))

    def training_recipe(self, train: Records, validation: Records) -> Recipe:
        """Return the recipe with the convex-concave loss."""
        return replace(self.recipe, loss=ConvexConcave(self.alpha, self.concave))
