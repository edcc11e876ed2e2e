"""Augmented queries for LiRA and RMIA: changed copies of a record.

Carlini et al. 2022, Section VI-C: a model that trained on shifted and mirrored images answers
these as confidently as the images, so each copy is one more answer to compare. Bits are flipped and
numbers get noise instead. Copy j is made in the same way for every record, so the target and all
reference models get the same queries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from selena.attacks.neighbors import (
    Neighbors,
    bit_flips,
    gaussian_noise,
    image_shifts,
    judge_neighbors,
)
from selena.attacks.signals import confidence
from selena.errors import ConfigError
from selena.training.batches import as_input
from selena.types import Records
from selena.workspace import Progress, Silent

CopyKind = Literal["flip", "noise", "shift"]

_SIZES: dict[CopyKind, float] = {"flip": 1, "noise": 0.02, "shift": 1}
_BATCH = 16_384  # changed records in memory at once

Asked = Callable[[Tensor], Float[Tensor, "b c"]]
"""Maps records to logits."""


@dataclass(frozen=True, eq=False)
class Copies:
    """How changed copies are made.

    Attributes:
        kind: "flip" bits, add "noise" (to numbers or images) or "shift" and mirror images.
        count: copies per record, at most 17 for shifts.
        size: number of bits, or standard deviations of each feature, or pixels.
        seed: root of the draws of bits and noise.
        scale: standard deviation of the noise per feature; None for the other kinds.
    """

    kind: CopyKind
    count: int
    size: float
    seed: int
    scale: Float[np.ndarray, "*features"] | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(CopyKind):
            raise ConfigError(f"Copies of kind {self.kind!r} are unknown; use flip, noise, shift.")
        if self.count < 1 or not self.size > 0:
            raise ConfigError(
                f"count is {self.count} and size is {self.size}; both must be above 0."
            )
        if self.kind != "noise" and self.size != int(self.size):
            raise ConfigError(f"Bits and pixels are whole numbers; size is {self.size}.")
        if self.kind == "shift" and self.count > len(_shifts(1)):
            raise ConfigError(
                f"There are {len(_shifts(1))} shifts of one size, mirrored ones included; count "
                f"is {self.count}."
            )
        object.__setattr__(self, "size", float(self.size))  # the type that files give back
        if (self.kind == "noise") != (self.scale is not None):
            raise ConfigError("Noise needs a scale per feature, and nothing else takes one.")

    @classmethod
    def fitting(
        cls, records: Records, count: int, *, kind: str = "auto", size: float = 0.0, seed: int = 0
    ) -> Copies:
        """Return copies that suit the features of a pool of records.

        Args:
            records: the pool; the noise of a feature is relative to its spread there.
            count: copies per record.
            kind: "auto" for flips of binary records, shifts of images and noise of other numbers.
            size: 0 for the default: 1 bit, 1 pixel, 0.02 standard deviations.
            seed: root of the draws.

        Raises:
            ConfigError: an unknown kind, or a number out of range.
        """
        x = records.x
        if kind == "auto":
            kind = "shift" if x.ndim == 4 else "flip" if x.dtype == torch.uint8 else "noise"
        known: Any = kind
        size = size or _SIZES.get(known, 0.0)
        spread = None
        if kind == "noise":
            spread = size * as_input(x).std(dim=0, correction=0).numpy()
        return cls(known, count, size, seed, spread)

    def ask(
        self, asked: Asked, records: Records, progress: Progress | None = None
    ) -> Float64[Tensor, "n q"]:
        """Return the confidence in each record's label: of the record, then of its copies.

        Raises:
            DataError: features that do not suit the kind of copies.
        """
        own = confidence(asked(records.x), records.y)[:, None]
        copies = judge_neighbors(
            lambda x, y: confidence(asked(x), y),
            records,
            self._neighbors(records.x),
            slice(0, self.count),
            max_batch=_BATCH,
            progress=progress or Silent(),
        )
        return torch.cat([own, copies], dim=1)

    def _neighbors(self, x: Tensor) -> Neighbors:
        if self.kind == "flip":
            return bit_flips(x.shape[-1], int(self.size), self.count, self.seed)
        if self.scale is not None:
            return gaussian_noise(torch.from_numpy(self.scale), self.count, self.seed)
        return image_shifts(_shifts(int(self.size))[: self.count])


def _shifts(size: int) -> list[tuple[int, int, bool]]:
    """Return shifts by at most `size`: first the mirror image, then by length."""
    reach = (-size, 0, size)
    every = [(i, j, mirrored) for mirrored in (True, False) for i in reach for j in reach]
    return sorted((each for each in every if each != (0, 0, False)), key=_length)


def _length(shift: tuple[int, int, bool]) -> tuple[int, bool]:
    return abs(shift[0]) + abs(shift[1]), not shift[2]
