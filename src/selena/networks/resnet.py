"""Residual networks for small images (He et al. 2016), among them the paper's ResNet-18."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import relu

from selena.errors import ConfigError

CIFAR10_MEAN, CIFAR10_STD = (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)
CIFAR100_MEAN, CIFAR100_STD = (0.507, 0.487, 0.441), (0.267, 0.256, 0.276)


@dataclass(frozen=True)
class ResNet:
    """A residual classifier of images in [0, 1], of any height and width.

    It has a 3 x 3 stem of stride 1 without pooling, stages of basic blocks, the mean over all
    places and one linear layer. Pixels are normalised inside, so attacks work in [0, 1].

    Attributes:
        num_classes: number of classes (outputs).
        widths: channels of each stage; the stem has as many as the first.
        blocks: basic blocks per stage.
        first_stride: stride of the first stage; each later one halves height and width.
        mean: mean of each channel, subtracted from it; its length is the number of channels.
        std: standard deviation of each channel, > 0, by which it is then divided.
    """

    num_classes: int
    widths: tuple[int, ...] = (64, 128, 256, 512)
    _: KW_ONLY
    blocks: int = 2
    first_stride: int = 1
    mean: tuple[float, ...] = CIFAR100_MEAN
    std: tuple[float, ...] = CIFAR100_STD

    def __post_init__(self) -> None:
        if not self.widths or min((self.num_classes, self.blocks, *self.widths)) < 1:
            raise ConfigError(
                f"A ResNet needs stages, and every width and count at least 1; this is {self}."
            )
        if self.first_stride not in (1, 2):
            raise ConfigError(f"first_stride must be 1 or 2, not {self.first_stride}.")
        if not self.mean or len(self.mean) != len(self.std) or not min(self.std) > 0:
            raise ConfigError(
                "mean and std must hold one number per channel, and std must be above 0; got "
                f"mean={self.mean}, std={self.std}."
            )

    def __call__(self) -> nn.Sequential:
        """Build the network with PyTorch's default initialisation."""
        stem = self.widths[0]
        layers: list[nn.Module] = [
            _Normalize(self.mean, self.std),
            *_convolution(len(self.mean), stem, 3),
            nn.ReLU(),
        ]
        strides = [self.first_stride] + [2] * (len(self.widths) - 1)
        for (before, width), stride in zip(pairwise((stem, *self.widths)), strides, strict=True):
            layers.append(_Block(before, width, stride))
            layers += [_Block(width, width, 1) for _ in range(self.blocks - 1)]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, self.num_classes)]
        return nn.Sequential(*layers)


def resnet18(num_classes: int, mean: tuple[float, ...], std: tuple[float, ...]) -> ResNet:
    """Return the paper's network for CIFAR-100 (Section 5.1)."""
    return ResNet(num_classes, mean=mean, std=std)


def small_resnet(num_classes: int, mean: tuple[float, ...], std: tuple[float, ...]) -> ResNet:
    """Return a network that trains in minutes on some thousand small images on two cores."""
    return ResNet(num_classes, (32, 64, 128), blocks=1, first_stride=2, mean=mean, std=std)


class _Normalize(nn.Module):
    """Normalises each channel, and puts the channels of a pixel side by side in memory.

    Convolutions keep that order and are faster with it, on processors and on GPUs. It is made by
    permuting, because stacked networks support nothing else.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        normalized = (x - self.get_buffer("mean")) / self.get_buffer("std")
        return normalized.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


class _Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, which is 1 x 1 where the shape changes."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *_convolution(before, width, 3, stride), nn.ReLU(), *_convolution(width, width, 3)
        )
        same = before == width and stride == 1
        self.shortcut = (
            nn.Identity() if same else nn.Sequential(*_convolution(before, width, 1, stride))
        )

    def forward(self, x: Float[Tensor, "n before h w"]) -> Float[Tensor, "n width h2 w2"]:
        return relu(self.residual(x) + self.shortcut(x))


def _convolution(before: int, width: int, size: int, stride: int = 1) -> list[nn.Module]:
    """Return a convolution that keeps height and width (except for the stride), normalised."""
    convolution = nn.Conv2d(before, width, size, stride, padding=size // 2, bias=False)
    return [convolution, nn.BatchNorm2d(width)]
