"""Steps that change a record within its kind: bits are flipped, numbers and pixels are moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from selena.attacks.gaussian_noise import feature_scale
from selena.training.batches import as_input
from selena.types import MembershipSets

_MOMENTUM = 1.0  # earlier gradients count in full, as in the transfer attack of OSLO's paper

Gradient = Callable[[Tensor, Int[Tensor, " m"]], Tensor]
"""The gradient of the goal at changed records; the second argument says which they are."""

GoesOn = Callable[[Tensor, Int[Tensor, " m"]], Bool[Tensor, " m"]]
"""Which of the changed records take another step."""


@dataclass(frozen=True, eq=False)
class Moves:
    """How far and in which way a step changes a record.

    Attributes:
        steps: most steps per record.
        size: size of a step, one number or one per feature; not used for bits.
        bits: whether a step flips a bit instead.
        bounded: whether features stay in [0, 1].
        device: where gradients are computed.
    """

    steps: int
    size: Float[Tensor, "*features"]
    bits: bool
    bounded: bool
    device: torch.device

    @classmethod
    def fitting(
        cls, known: MembershipSets, *, steps: int, size: float, device: torch.device
    ) -> Moves:
        """Return moves for records like the known ones.

        Args:
            known: known records; candidates have the same kind of features.
            steps: most steps per record.
            size: size of a step in standard deviations of each feature over the known records; for
                images in [0, 1].
            device: where gradients are computed.
        """
        x = known.non_members.x
        bits, image = x.dtype == torch.uint8 and x.ndim == 2, x.ndim == 4
        step = torch.tensor(size) if bits or image else size * feature_scale(known)
        return cls(steps, step, bits, image, device)

    def climb(
        self, x: Shaped[Tensor, "n *features"], gradient: Gradient, goes_on: GoesOn
    ) -> Float[Tensor, "n *features"]:
        """Return changed records; each takes steps until `goes_on` says no, or `steps` are taken.

        A step in bits flips the bit that increases the goal most and was not flipped before.
        Numbers and pixels move by the sign of their gradients, which are summed over the steps.
        """
        changed = as_input(x).to(self.device, copy=True)
        push, flipped = torch.zeros_like(changed), torch.zeros_like(changed, dtype=torch.bool)
        rows = torch.arange(len(changed), device=self.device)
        rows = rows[goes_on(changed, rows)]
        for _ in range(self.steps):
            if not len(rows):
                break
            slope = gradient(changed[rows], rows)
            if self.bits:
                gain = slope * (1 - 2 * changed[rows])
                bit = gain.masked_fill(flipped[rows], -torch.inf).argmax(dim=1)
                flipped[rows, bit] = True
                changed[rows, bit] = 1 - changed[rows, bit]
            else:
                norm = slope.abs().flatten(1).mean(dim=1).clamp(min=1e-12)
                scaled = slope / norm.view(-1, *[1] * (slope.ndim - 1))
                push[rows] = _MOMENTUM * push[rows] + scaled
                moved = changed[rows] + self.size.to(self.device) * push[rows].sign()
                changed[rows] = moved.clamp(0, 1) if self.bounded else moved
            rows = rows[goes_on(changed[rows], rows)]
        return changed
