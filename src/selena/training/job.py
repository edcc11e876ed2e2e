"""Inputs of the training engine: jobs and examples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor


class Job:
    """One network to fit.

    Attributes:
        name: what its kept artifact is called.
        seed: root of its draws.
    """

    def __init__(self, name: str, rows: Int[Tensor, " m"] | Bool[Tensor, " n"], seed: int) -> None:
        """Describe a network.

        Args:
            name: what its kept artifact is called.
            rows: the records that it trains on, by number or as a mask of all; it reads no
                others. A mask is kept as bits, so that K jobs do not hold K x n numbers.
            seed: root of its draws.
        """
        self.name = name
        self.seed = seed
        self._rows = rows if rows.dtype != torch.bool else np.packbits(rows.numpy())

    @property
    def rows(self) -> Int[Tensor, " m"]:
        """Numbers of the records that it trains on; from a mask, ascending and anew per access."""
        if isinstance(self._rows, Tensor):
            return self._rows
        return torch.from_numpy(np.flatnonzero(np.unpackbits(self._rows)))


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs and targets.

    Attributes:
        x: features as in `Records`.
        target: hard labels (int64), soft labels (rows of probabilities), or numbers for "mse".
    """

    x: Shaped[Tensor, "n *features"]
    target: Shaped[Tensor, "n *target"]
