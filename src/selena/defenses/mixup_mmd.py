"""MixUp with a penalty on the distance between predictions for members and for non-members.

Li, Li, Ribeiro, "Membership Inference Attacks and Defenses in Classification Models",
CODASPY 2021, Section 5; MixUp: Zhang et al., ICLR 2018.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from selena.data.checks import check_records, check_same_features
from selena.defenses.single import SingleNetwork
from selena.errors import ConfigError
from selena.training.batches import as_input
from selena.training.forward import Forward
from selena.training.losses import per_example_loss
from selena.training.recipe import Recipe
from selena.types import Records


@dataclass(frozen=True, eq=False)
class MixupMMDLoss:
    """Cross-entropy on mixed records + weight * MMD² of members and references, class by class.

    Attributes:
        mixup: both parameters of the Beta distribution of the mixing share.
        weight: weight of the penalty.
        references: features of the reference records.
        labels: their labels.
    """

    mixup: float
    weight: float
    references: Shaped[Tensor, "r *features"]
    labels: Int[Tensor, " r"]

    def __call__(
        self,
        network: Forward,
        x: Float[Tensor, "b *features"],
        target: Int[Tensor, " b"],
        *,
        epoch: int,
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch, the same in every epoch."""
        share = float(torch.distributions.Beta(self.mixup, self.mixup).sample())
        partner = torch.randperm(len(x)).to(x.device)
        logits = network(share * x + (1 - share) * x[partner])
        loss = (
            share * per_example_loss(logits, target, "cross_entropy")
            + (1 - share) * per_example_loss(logits, target[partner], "cross_entropy")
        ).mean()
        # One reference of the same class per member, so that both sides have the same classes.
        has_reference = torch.isin(target.cpu(), self.labels)
        if self.weight == 0 or not bool(has_reference.any()):
            return loss
        rows = same_class_rows(self.labels, target.cpu()[has_reference])
        references = as_input(self.references[rows].to(x.device), x.dtype)
        members = x[has_reference.to(x.device)]
        predictions = network(torch.cat([members, references])).softmax(dim=1)
        return loss + self.weight * squared_mmd(*predictions.split(len(members)))


def same_class_rows(labels: Int[Tensor, " r"], wanted: Int[Tensor, " m"]) -> Int[Tensor, " m"]:
    """Return a random row for each wanted label; each label must occur."""
    by_label = labels.argsort(stable=True)
    counts = labels.bincount()
    first = counts.cumsum(0) - counts
    place = (torch.rand(len(wanted), dtype=torch.float64) * counts[wanted]).long()
    return by_label[first[wanted] + place]


def squared_mmd(a: Float[Tensor, "m c"], b: Float[Tensor, "m c"]) -> Float[Tensor, ""]:
    """Return the (biased, never negative) squared maximum mean discrepancy of two samples.

    The kernel is Gaussian; its width is the mean squared distance within the joint sample.
    """
    both = torch.cat([a, b])
    norms = (both**2).sum(dim=1)
    distance = (norms[:, None] + norms[None, :] - 2 * both @ both.T).clamp_min(0)
    kernel = torch.exp(-distance / distance.detach().mean().clamp_min(1e-12))
    sign = torch.cat([a.new_full((len(a),), 1 / len(a)), b.new_full((len(b),), -1 / len(b))])
    return sign @ kernel @ sign


@dataclass(frozen=True)
class MixupMMD(SingleNetwork):
    """Ordinary training with `MixupMMDLoss`; the references are the validation records.

    Attributes:
        mixup: both parameters of the Beta distribution of the mixing share, > 0.
        weight: weight of the MMD penalty, >= 0; tune it per data set.
    """

    name: ClassVar[str] = "mixup-mmd"
    _: KW_ONLY
    mixup: float = 1.0
    weight: float = 3.0

    def __post_init__(self) -> None:
        if not self.mixup > 0 or not self.weight >= 0:
            raise ConfigError(
                f"MixUp + MMD needs mixup > 0 and weight >= 0; got {self.mixup}, {self.weight}."
            )

    def training_recipe(self, train: Records, validation: Records) -> Recipe:
        """Return the recipe with the penalty against `validation`."""
        what = "reference records of MixUp + MMD"
        check_records(validation, num_classes=self.num_classes, what=what)
        check_same_features(train, validation, what="training and reference records")
        loss = MixupMMDLoss(self.mixup, self.weight, validation.x, validation.y)
        return replace(self.recipe, loss=loss)
