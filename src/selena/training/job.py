"""What the engine is given: jobs and examples."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Int, Shaped
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Job:
    """One network to fit.

    Attributes:
        name: what its kept piece is called.
        rows: which records it may see; it touches no others.
        seed: root of its draws.
    """

    name: str
    rows: Int[Tensor, " m"]
    seed: int


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs and what to learn.

    Attributes:
        x: features as in `Records`.
        target: hard labels (int64), soft labels (rows of probabilities), or numbers for "mse".
    """

    x: Shaped[Tensor, "n *features"]
    target: Shaped[Tensor, "n *target"]
