"""The non-model sets of Split-AI: which sub-models never see a record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from selena.errors import DataError


@dataclass(frozen=True, eq=False)
class NonModelSets:
    """Which sub-models do not train on which record (Id_non in the paper, Section 4.1).

    Attributes:
        bits: n x ceil(K / 8); the bits of row x, highest first, mark the L sub-models that never
            see record x. They are packed, since an ensemble keeps K bits per record.
        k: number of sub-models.
    """

    bits: UInt8[Tensor, "n bytes"]
    k: int

    @classmethod
    def pack(cls, excluded: Bool[Tensor, "n k"]) -> NonModelSets:
        """Return the sets marked in a matrix of n x K."""
        return cls(torch.from_numpy(np.packbits(excluded.numpy(), axis=1)), excluded.shape[1])

    def __post_init__(self) -> None:
        sizes = np.bitwise_count(self.bits.numpy()).sum(axis=1, dtype=np.int32)
        if len(sizes) and sizes.min() != sizes.max():
            raise DataError("Every record needs the same number L of non-models.")
        if self.bits.shape[1] != (self.k + 7) // 8:
            raise DataError(
                f"{self.bits.shape[1]} bytes per record do not hold {self.k} sub-models."
            )

    def __repr__(self) -> str:
        return f"NonModelSets({len(self):,} records, K={self.k}, L={self.l})"

    def __len__(self) -> int:
        return len(self.bits)

    @property
    def l(self) -> int:  # noqa: E743 - the paper's letter
        """Number of sub-models that do not train on a record."""
        return int(np.bitwise_count(self.bits[0].numpy()).sum()) if len(self) else 0

    @property
    def excluded(self) -> Bool[Tensor, "n k"]:
        """The unpacked matrix, one byte per record and sub-model."""
        return torch.from_numpy(np.unpackbits(self.bits.numpy(), axis=1, count=self.k)).bool()

    def take(self, rows: Int[Tensor, " m"]) -> NonModelSets:
        """Return the sets of the records at `rows`, in that order."""
        return NonModelSets(self.bits[rows], self.k)

    def without(self, submodel: int) -> Bool[Tensor, " n"]:
        """Return which records `submodel` never sees."""
        return (self.bits[:, submodel // 8] & (128 >> submodel % 8)) != 0

    def training_rows(self, submodel: int) -> Int[Tensor, " m"]:
        """Return the rows that `submodel` trains on."""
        return torch.nonzero(~self.without(submodel)).squeeze(1)
