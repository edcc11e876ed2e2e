"""Named recipes: network, training and distillation for each data set (paper, Section 5.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from selena.errors import ConfigError
from selena.networks import NetworkFactory
from selena.networks.mlp import MLP
from selena.networks.resnet import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    CIFAR100_MEAN,
    CIFAR100_STD,
    resnet18,
    small_resnet,
)
from selena.training.recipe import Recipe
from selena.types import Dataset


@dataclass(frozen=True)
class Adversary:
    """The attack network of adversarial regularization, and the schedule of the game.

    Attributes:
        alpha: weight of the adversary's gain in the classifier's loss.
        warm_up_epochs: ordinary epochs before the game.
        attack_batches: the adversary's steps for each of the classifier's.
        learning_rate: of the classifier in the game.
        attack_learning_rate: of the adversary.
    """

    alpha: float = 3.0
    warm_up_epochs: int = 1
    attack_batches: int = 13
    learning_rate: float = 1e-3
    attack_learning_rate: float = 1e-4


@dataclass(frozen=True)
class Plan:
    """All settings that a defense needs for training on one data set.

    Attributes:
        architecture: "mlp", or for images "resnet18" or "small_resnet".
        hidden: widths of an MLP's hidden layers.
        activation: of an MLP.
        standardize: whether an MLP normalises its features first.
        mean: of each channel of pixels in [0, 1]; a ResNet subtracts it.
        std: of each channel; a ResNet divides by it.
        training: recipe of the undefended model and of every sub-model.
        distillation: recipe of the student.
        adversary: schedule of adversarial regularization.
        shadow_epochs: epochs of the sub-models of an attacker who imitates Split-AI; None: as
            many as `training` has.
        n_submodels: number of sub-models.
        n_nonmodels: number of sub-models that do not train on a record.
        near_duplicates: records that share their non-models. "auto" finds near-duplicates among
            training records, "exact" only equal records; a number is the largest distance.
    """

    architecture: Literal["mlp", "resnet18", "small_resnet"] = "mlp"
    hidden: tuple[int, ...] = (1024, 512, 256, 128)
    activation: Literal["tanh", "relu"] = "tanh"
    standardize: bool = False
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.25, 0.25, 0.25)
    training: Recipe = field(default_factory=Recipe)
    distillation: Recipe = field(default_factory=lambda: Recipe(epochs=60))
    adversary: Adversary = field(default_factory=Adversary)
    shadow_epochs: int | None = None
    n_submodels: int = 25
    n_nonmodels: int = 10
    near_duplicates: Literal["auto", "exact"] | float = "auto"

    def __post_init__(self) -> None:
        if self.shadow_epochs is not None and self.shadow_epochs < 1:
            raise ConfigError(f"shadow_epochs is {self.shadow_epochs}; it must be at least 1.")

    def network(self, dataset: Dataset) -> NetworkFactory:
        """Return the classifier for `dataset`.

        Raises:
            ConfigError: if it is a ResNet, but the records are no images or have another number
                of channels than `mean`.
        """
        if self.architecture == "mlp":
            return MLP(
                in_features=dataset.records.x[0].numel(),
                num_classes=dataset.num_classes,
                hidden=self.hidden,
                activation=self.activation,
                standardize=self.standardize,
            )
        shape = tuple(dataset.records.x.shape[1:])
        if len(shape) != 3 or shape[0] != len(self.mean):
            raise ConfigError(
                f"{self.architecture} is set up for images of {len(self.mean)} channels; records "
                f'of {dataset.name} have the shape {shape}. Use architecture = "mlp", or give one '
                "mean and std per channel."
            )
        build = resnet18 if self.architecture == "resnet18" else small_resnet
        return build(dataset.num_classes, self.mean, self.std)


_CIFAR100 = Recipe(
    optimizer="sgd",
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=5e-4,
    milestones=(60, 120, 160),
    decay=0.2,
    warmup_epochs=1,
    batch_size=256,
    epochs=200,
    augmentation="crop_flip",
)
_FEW_IMAGES = Recipe(batch_size=128, epochs=30, milestones=(20, 26), augmentation="crop_flip")

PLANS: dict[str, Plan] = {
    # The paper's settings.
    "purchase100": Plan(),
    "texas100": Plan(
        shadow_epochs=30,
        training=Recipe(batch_size=128, epochs=20),
        distillation=Recipe(batch_size=128, epochs=30),
        adversary=Adversary(alpha=2.0, learning_rate=1e-4, attack_learning_rate=1e-3),
    ),
    "cifar100": Plan(
        architecture="resnet18",
        mean=CIFAR100_MEAN,
        std=CIFAR100_STD,
        training=_CIFAR100,
        distillation=_CIFAR100,
        adversary=Adversary(alpha=6.0, warm_up_epochs=4, attack_batches=1, learning_rate=0.1),
    ),
    # The paper does not use these data sets: its network, other batches and epochs.
    "location30": Plan(
        training=Recipe(batch_size=64, epochs=50),
        distillation=Recipe(batch_size=64, epochs=50),
    ),
    "digits": Plan(
        hidden=(256, 128),
        training=Recipe(batch_size=64, epochs=50),
        distillation=Recipe(batch_size=64, epochs=50),
    ),
    "tabular": Plan(
        hidden=(512, 256, 128),
        standardize=True,
        training=Recipe(batch_size=128, epochs=50),
        distillation=Recipe(batch_size=128, epochs=50),
    ),
    "cifar10": Plan(
        architecture="small_resnet",
        mean=CIFAR10_MEAN,
        std=CIFAR10_STD,
        training=_FEW_IMAGES,
        distillation=_FEW_IMAGES,
    ),
    "image_folder": Plan(
        architecture="small_resnet", training=_FEW_IMAGES, distillation=_FEW_IMAGES
    ),
}
