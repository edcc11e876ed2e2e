"""Converts features to tensors that attacks may change, and back to what the model takes.

An attack that asks about changed records (noisy, flipped, shifted) needs tensors of one of this
library's kinds: bits, pixels or continuous numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from selena.errors import DataError
from selena.models.containers import Container
from selena.types import FeatureKind

_CHANNELS = (1, 3)


@dataclass(frozen=True, eq=False)
class Inputs:
    """Records as tensors.

    Attributes:
        x: n x anything; bits and pixels as uint8, others as floats of their original type.
        features: their kind.
        given: the container they came in.
        dtype: number type of the container.
    """

    x: Shaped[Tensor, "n *features"]
    features: FeatureKind
    given: Container
    dtype: np.dtype[Any]

    @property
    def scale(self) -> float:
        """Factor from pixels in [0, 1] to the model's: 255 if it takes bytes, else 1."""
        return 255.0 if self.features == "image" and self.dtype == np.uint8 else 1.0

    def back(self, x: Shaped[Tensor, "m *features"]) -> Any:
        """Return features `x` in the container and units that the model takes."""
        numbers = x.detach().cpu().numpy()
        if self.scale != 1 and x.is_floating_point():
            numbers = np.rint(self.scale * numbers)
        if self.dtype.kind == "f" or self.features != "continuous":
            numbers = numbers.astype(self.dtype)
        return self.given.like(numbers)


def as_inputs(features: Container) -> Inputs:
    """Return records as attacks take them.

    Zeros and ones become bits. Images are n x channels x height x width, bytes or in [0, 1].

    Raises:
        DataError: features that are no dense numbers, or images in another form.
    """
    numbers = features.numbers()
    dtype = numbers.dtype
    if numbers.ndim == 2 and np.isin(numbers, (0, 1)).all():
        return Inputs(torch.from_numpy(numbers.astype(np.uint8)), "binary", features, dtype)
    if numbers.ndim != 4:
        floats = numbers.copy() if dtype in (np.float32, np.float64) else numbers.astype(np.float32)
        return Inputs(torch.from_numpy(floats), "continuous", features, dtype)
    if numbers.shape[1] not in _CHANNELS and numbers.shape[3] in _CHANNELS:
        raise DataError(
            f"images of shape {numbers.shape[1:]} have their channels last; give n x channels x "
            "height x width, and permute them in a function around the model"
        )
    if dtype != np.uint8 and not (dtype.kind == "f" and ((numbers >= 0) & (numbers <= 1)).all()):
        raise DataError(
            "images must be bytes (uint8) or floats in [0, 1]; normalize them in a function around "
            "the model"
        )
    pixels = numbers.copy() if dtype == np.uint8 else numbers.astype(np.float32)
    return Inputs(torch.from_numpy(pixels), "image", features, dtype)
