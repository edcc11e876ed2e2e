"""Multi-layer perceptrons, among them those of the paper (Section 5.1)."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Literal

from torch import nn

from selena.errors import ConfigError

_ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


@dataclass(frozen=True)
class MLP:
    """A fully connected classifier.

    Attributes:
        in_features: number of features.
        num_classes: number of classes (outputs).
        hidden: widths of the hidden layers; the paper's are 1024, 512, 256, 128.
        activation: "tanh" (the paper's) or "relu".
        standardize: normalise features by the statistics of the records the network is trained
            on (batch normalisation without weights), for features of different scales. The
            statistics belong to the network, so a sub-model never sees those of other records.
    """

    in_features: int
    num_classes: int
    hidden: tuple[int, ...] = (1024, 512, 256, 128)
    _: KW_ONLY
    activation: Literal["tanh", "relu"] = "tanh"
    standardize: bool = False

    def __post_init__(self) -> None:
        if min((self.in_features, self.num_classes, *self.hidden)) < 1:
            raise ConfigError(f"Every width of an MLP must be at least 1; this is {self}.")
        if self.activation not in _ACTIVATIONS:
            raise ConfigError(f"Unknown activation {self.activation!r}; use tanh or relu.")

    def __call__(self) -> nn.Sequential:
        """Build the network with PyTorch's default initialisation."""
        layers: list[nn.Module] = [nn.Flatten()]
        if self.standardize:
            layers.append(nn.BatchNorm1d(self.in_features, affine=False))
        width = self.in_features
        for next_width in self.hidden:
            layers += [nn.Linear(width, next_width), _ACTIVATIONS[self.activation]()]
            width = next_width
        layers.append(nn.Linear(width, self.num_classes))
        return nn.Sequential(*layers)
