"""Augmentation: random changes of records during training, drawn anew in each step."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor
from torch.nn.functional import pad

from selena.errors import ConfigError

Augmentation = Literal["none", "crop_flip"]


@runtime_checkable
class Augment(Protocol):
    """Changes batches in training: a function that is set as `Recipe.augmentation`.

    It draws from `generator` alone, which is seeded by network, epoch and step, so resumed
    training repeats the same draws. Networks with such a function are trained one at a time.
    """

    def __call__(
        self, x: Shaped[Tensor, "b *features"], generator: torch.Generator
    ) -> Shaped[Tensor, "b *features"]:
        """Return changed records.

        Args:
            x: a batch of records as they are kept (images as uint8), on the training's device.
            generator: a CPU generator.
        """


PADDING = 4
"""Width in pixels of the black frame from which an image is cropped to its own size."""


def random_crop_flip(
    x: Shaped[Tensor, "n *features"], generator: torch.Generator
) -> Shaped[Tensor, "n *features"]:
    """Crop each image out of a black frame of 4 pixels at random, and mirror half of them.

    Args:
        x: images, n x channels x height x width, of any type and on any device.
        generator: a CPU generator, so that every device sees the same draws.

    Raises:
        ConfigError: if the records are no images.
    """
    require_images(x)
    down, right, mirrored = draw_crops(len(x), generator)
    return crop_flip(x, down.to(x.device), right.to(x.device), mirrored.to(x.device))


def require_images(x: Shaped[Tensor, "n *features"]) -> None:
    """Raise a ConfigError if the records are no images."""
    if x.ndim != 4:
        raise ConfigError(
            "augmentation='crop_flip' is for images, n x channels x height x width; these records "
            f"have the shape {tuple(x.shape)}. Use 'none'."
        )


def draw_crops(
    n: int, generator: torch.Generator
) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"], Bool[Tensor, " n"]]:
    """Draw where n images are cropped, in [0, 8] from the top and left, and which are mirrored."""
    down, right = torch.randint(2 * PADDING + 1, (2, n), generator=generator)
    return down, right, torch.rand(n, generator=generator) < 0.5


def crop_flip(
    x: Shaped[Tensor, "n c h w"],
    down: Int[Tensor, " n"],
    right: Int[Tensor, " n"],
    mirrored: Bool[Tensor, " n"],
) -> Shaped[Tensor, "n c h w"]:
    """Crop each image from its black frame, and flip it left to right where `mirrored`."""
    n, channels, height, width = x.shape
    device = x.device
    columns = torch.arange(width, device=device)
    columns = torch.where(mirrored[:, None], columns.flip(0), columns) + right[:, None]
    rows = torch.arange(height, device=device) + down[:, None]
    return pad(x, (PADDING,) * 4)[
        torch.arange(n, device=device)[:, None, None, None],
        torch.arange(channels, device=device)[:, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]
