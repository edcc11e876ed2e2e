"""A small convolutional network that predicts the distribution of an image's score."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

_WIDTHS = (32, 64)


@dataclass(frozen=True)
class ScoreNetwork:
    """Builds a network with two outputs per class: mean and log standard deviation of a score.

    It has two convolutions, each with a pooling by two, then the mean over all places. It takes
    images of any size from 4 x 4 pixels on.

    Attributes:
        channels: number of channels of the images.
        num_classes: number of classes; an image's label selects two outputs.
    """

    channels: int
    num_classes: int

    def __call__(self) -> nn.Sequential:
        """Build the network with PyTorch's default initialisation."""
        layers: list[nn.Module] = []
        width = self.channels
        for next_width in _WIDTHS:
            layers += [nn.Conv2d(width, next_width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            width = next_width
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 2 * self.num_classes)]
        return nn.Sequential(*layers)
