"""Two steps of all draws by content: finding a record by its digest, and choosing L of K."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int64, Shaped


class Lookup:
    """An index of fixed-length bytes; it needs 8 bytes per entry more, for their order."""

    def __init__(self, names: Shaped[np.ndarray, " n"]) -> None:
        """Index `names`, an array of NumPy's bytes."""
        self.names = names
        self._order = np.argsort(names, kind="stable")

    def find(
        self, asked: Shaped[np.ndarray, " m"]
    ) -> tuple[Int64[np.ndarray, " m"], Bool[np.ndarray, " m"]]:
        """Return the (last) row with each name, and a mask of the names that no row has."""
        # The last entry that is not greater than a name is the name itself, if it is known.
        places = np.searchsorted(self.names, asked, side="right", sorter=self._order) - 1
        rows = self._order[places]
        return rows, self.names[rows] != asked


def l_of_k(order: Shaped[np.ndarray, "n k"], l: int) -> Bool[np.ndarray, "n k"]:  # noqa: E741
    """Return a mask of the first `l` of each row's order of K; a random order gives random sets."""
    chosen = np.zeros(order.shape, dtype=bool)
    np.put_along_axis(chosen, order[:, :l], True, axis=1)
    return chosen
