"""Finds records in a pool by their content, since candidates have new ids."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from selena.content.digests import digests
from selena.content.keyed import Lookup
from selena.errors import DataError
from selena.types import Records


class PoolIndex:
    """Finds records of a pool by content and label; it takes 32 bytes per record."""

    def __init__(self, names: Shaped[np.ndarray, " n"]) -> None:
        """Index a pool by the `content_names` of its features and labels."""
        self._lookup = Lookup(names)

    def places(self, records: Records) -> Int[Tensor, " m"]:
        """Return the place of each record in the pool; of equal records, one place.

        Raises:
            DataError: a record that was not in the pool.
        """
        if not len(self._lookup.names):
            raise DataError("The pool of the reference models is empty. Give a pool with records.")
        places, unknown = self._lookup.find(content_names(records.x, records.y))
        if unknown.any():
            raise DataError(
                f"Record {unknown.argmax()} was not among the candidates of the reference models. "
                "Give all that will be scored as `MembershipSets.candidates`, or in the pool of "
                "the reference matrix."
            )
        return torch.from_numpy(places)


def content_names(x: Shaped[Tensor, "n *features"], *more: Int[Tensor, " n"]) -> np.ndarray:
    """Return a digest of each record's features and of the other arguments.

    Features are not converted: a forest, unlike a network, distinguishes float64 numbers that are
    equal in float32.
    """
    parts = [digests(x), *([number.tobytes() for number in each.numpy()] for each in more)]
    return np.array([b"".join(each) for each in zip(*parts, strict=True)], dtype=np.bytes_)
