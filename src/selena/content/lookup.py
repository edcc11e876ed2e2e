"""The two steps that draws by content share: finding a record by its digest, and L of K."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int64, Shaped


class Lookup:
    """Finds fixed-length bytes; it holds them, and 8 bytes per entry for their order."""

    def __init__(self, names: Shaped[np.ndarray, " n"]) -> None:
        """Index `names`, an array of NumPy's bytes."""
        self.names = names
        self._order = np.argsort(names, kind="stable")

    def find(
        self, asked: Shaped[np.ndarray, " m"]
    ) -> tuple[Int64[np.ndarray, " m"], Bool[np.ndarray, " m"]]:
        """Return the row that has each name (of several, the last), and where none has it."""
        # Where a name is known, the last that does not come after it is its own.
        places = np.searchsorted(self.names, asked, side="right", sorter=self._order) - 1
        rows = self._order[places]
        return rows, self.names[rows] != asked


def l_of_k(order: Shaped[np.ndarray, "n k"], l: int) -> Bool[np.ndarray, "n k"]:  # noqa: E741
    """Return True at the first `l` of each row's order of K: an L-set, uniform if the order is."""
    chosen = np.zeros(order.shape, dtype=bool)
    np.put_along_axis(chosen, order[:, :l], True, axis=1)
    return chosen
