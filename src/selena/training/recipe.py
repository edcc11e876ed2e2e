"""Recipes: how a network is trained, as plain settings."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from selena.environment.processor import has_fast_bfloat16
from selena.errors import ConfigError
from selena.networks import NetworkFactory
from selena.training.augment import Augment, Augmentation
from selena.training.losses import Loss, LossName
from selena.types import Records

Precision = Literal["auto", "float32", "bfloat16"]
Schedule = Literal["steps", "one_cycle"]


@runtime_checkable
class Train(Protocol):
    """A training loop of the user's own, set as `Recipe.train`.

    Its code and the values it refers to are part of the fingerprint of the trained network.
    """

    def __call__(
        self,
        network_factory: NetworkFactory,
        records: Records,
        soft_labels: Float[Tensor, "n c"] | None,
        seed: int,
        device: str,
    ) -> nn.Module:
        """Return a trained network.

        Args:
            network_factory: builds the network; the returned one must have its architecture.
            records: the only records to train on. With soft labels, `y` is the most probable
                class of each record and not the true one, which a student must not see.
            soft_labels: rows of probabilities to learn instead of `y`; None for hard labels.
            seed: seed of this network. PyTorch's global generators are already seeded with it.
            device: where to train, as "cpu" or "cuda".
        """


@dataclass(frozen=True)
class Recipe:
    """Optimizer, schedule, precision and model selection.

    Attributes:
        optimizer: "adam" or "sgd".
        learning_rate: peak rate.
        batch_size: records per step.
        epochs: passes over the training records.
        momentum: of SGD.
        weight_decay: L2 penalty, as the optimizer applies it.
        milestones: epochs from which the rate is multiplied by `decay`, once each.
        decay: factor at each milestone.
        warmup_epochs: epochs over which the rate rises linearly from 0, step by step.
        schedule: after the warm-up, "steps" keeps the rate and lowers it at the milestones, and
            "one_cycle" lets it fall linearly, step by step, to almost 0 at the last one (Smith &
            Topin 2018, Section 3; momentum stays).
        precision: "bfloat16" computes in bf16 with float32 master weights; "auto" does so where
            the processor has bf16 instructions; inference is always float32.
        selection: which epoch's weights are returned, "last" or the best on "validation".
        loss: "cross_entropy" (hard labels, or soft ones as rows of probabilities), "mse",
            "binary_cross_entropy" (of one logit), or a defense's own,
            `loss(network, x, target, *, epoch) -> scalar` (`selena.training.losses.Loss`).
        augmentation: "crop_flip" crops and mirrors images at random, anew in each epoch; soft
            labels are those of the clean images. "none" changes nothing. Or a function of a
            batch and a generator (`selena.training.augment.Augment`).
        train: a function that trains the network, `train(network_factory, records, soft_labels,
            seed, device) -> network`; it then decides about the other settings (`Train`).
    """

    _: KW_ONLY
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 1e-3
    batch_size: int = 512
    epochs: int = 30
    momentum: float = 0.0
    weight_decay: float = 0.0
    milestones: tuple[int, ...] = ()
    decay: float = 0.2
    warmup_epochs: int = 0
    schedule: Schedule = "steps"
    precision: Precision = "auto"
    selection: Literal["last", "validation"] = "last"
    loss: LossName | Loss = "cross_entropy"
    augmentation: Augmentation | Augment = "none"
    train: Train | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not self.learning_rate > 0:
            raise ConfigError(
                "A recipe needs epochs >= 1, batch_size >= 1 and learning_rate > 0; got "
                f"epochs={self.epochs}, batch_size={self.batch_size}, "
                f"learning_rate={self.learning_rate}."
            )
        if min(self.momentum, self.weight_decay, self.decay, self.warmup_epochs) < 0:
            raise ConfigError(
                "momentum, weight_decay, decay and warmup_epochs of a recipe are at least 0; got "
                f"momentum={self.momentum}, weight_decay={self.weight_decay}, decay={self.decay}, "
                f"warmup_epochs={self.warmup_epochs}."
            )
        _one_of("optimizer", self.optimizer, ("adam", "sgd"))
        _one_of("schedule", self.schedule, get_args(Schedule))
        if self.schedule == "one_cycle" and self.milestones:
            raise ConfigError(
                f"The schedule one_cycle has no milestones, but milestones={self.milestones}. Set "
                "milestones to an empty list."
            )
        _one_of("precision", self.precision, ("auto", "float32", "bfloat16"))
        _one_of("selection", self.selection, ("last", "validation"))
        if isinstance(self.augmentation, str):
            _one_of("augmentation", self.augmentation, get_args(Augmentation))
        if self.train is not None and (self.selection != "last" or self.augmentation != "none"):
            raise ConfigError(
                "A recipe with a training function takes no selection and no augmentation. Do "
                "both in the function."
            )
        if isinstance(self.loss, str):
            _one_of("loss", self.loss, get_args(LossName))

    def rate_at(self, epoch: int, step: int, steps: int) -> float:
        """Return the learning rate of `step` (of `steps`) in `epoch`, both from 0."""
        if epoch < self.warmup_epochs:
            return self.learning_rate * (epoch * steps + step + 1) / (self.warmup_epochs * steps)
        if self.schedule == "one_cycle":
            falling = self.epochs - self.warmup_epochs
            return self.learning_rate * (1 - (epoch - self.warmup_epochs + step / steps) / falling)
        passed = sum(epoch >= milestone for milestone in self.milestones)
        return self.learning_rate * self.decay**passed

    def compute_dtype(self, device: torch.device) -> torch.dtype:
        """Return the precision of the forward and backward passes on `device`."""
        if self.precision == "auto":
            return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name}={value!r} is unknown; use one of {', '.join(allowed)}.")
