"""Gradient descent on MemGuard's loss for many queries at once, each with its own c3."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from selena.defenses.memguard_inference import InferenceNetwork, Pieces


class Walks:
    """Current points and starting points of m walks, one per query.

    A walk swings from one side of a valley to the other, so it is mostly on the same linear piece
    of the inference network as two steps before. So two pieces are kept per walk, for even and for
    odd steps, and the network is computed only after a piece has been left (on synthetic
    Purchase100 in one step of three). The other work is a dozen passes over m x c numbers, limited
    by memory. So a step uses one scratch tensor and allocates nothing.

    Attributes:
        z: logits (float64); the last one is the label's.
        p: their probabilities.
        lead: the label's logit minus the largest other one; below 0 the label has changed.
    """

    def __init__(self, network: InferenceNetwork, z: Float[Tensor, "m c"], start: Pieces) -> None:
        """Start at `z`, whose probabilities are `start.point`."""
        self._network = network
        self._z_0, self._start = z, start
        self.z, self.p, self.lead = z.clone(), start.point.clone(), _lead(z)
        every = torch.arange(len(z))
        self._here, self._before = start.take(every), start.take(every)
        self._scratch = torch.empty_like(z)

    def step(self, length: float, c2: float, c3: Float[Tensor, " m"]) -> Int[Tensor, " r"]:
        """Descend |h| + c2 relu(-lead) + c3 ||p - p_0||_1 by one step of this length per walk.

        Returns:
            The walks that have succeeded: h has changed its sign, and the label leads.
        """
        scratch = self._scratch
        torch.sub(self.p, self._start.point, out=scratch).sign_()
        torch.addcmul(self._here.pull, scratch, c3[:, None], out=scratch)
        # The chain rule from p to z: p (g - <g, p>).
        scratch.mul_(self.p)
        scratch.addcmul_(self.p, scratch.sum(dim=1, keepdim=True), value=-1)
        lost = torch.nonzero(self.lead < 0).squeeze(1)
        if len(lost):
            scratch[lost, -1] -= c2
            scratch[lost, self.z[lost, :-1].argmax(dim=1)] += c2
        steep = torch.linalg.vector_norm(scratch, dim=1, keepdim=True)
        # At a flat point (every ReLU closed) a walk does not move, and fails in the end.
        steep.clamp_min_(torch.finfo(scratch.dtype).tiny)
        self.z.addcmul_(scratch, steep.reciprocal_(), value=-length)
        torch.softmax(self.z, dim=1, out=self.p)
        self.lead = _lead(self.z)
        self._here, self._before = self._before, self._here
        left = self._here.left_by(self.p, self._scratch)
        if len(left):
            self._here.put(left, self._network.pieces(self.p.index_select(0, left)))
        crossed = self._here.score * self._start.score <= 0
        return torch.nonzero(crossed & (self.lead > 0)).squeeze(1)

    def restart(self, rows: Int[Tensor, " r"]) -> None:
        """Put walks back to their starting points."""
        start = self._start.take(rows)
        self.z[rows], self.p[rows] = self._z_0[rows], start.point
        self.lead[rows] = _lead(self._z_0[rows])
        self._here.put(rows, start)

    def keep(self, rows: Bool[Tensor, " m"]) -> None:
        """Forget the other walks."""
        self._z_0, self.z, self.p, self.lead = (
            each[rows] for each in (self._z_0, self.z, self.p, self.lead)
        )
        self._start, self._here, self._before = (
            each.take(rows) for each in (self._start, self._here, self._before)
        )
        self._scratch = self._scratch[: len(self.z)]


def _lead(z: Float[Tensor, "m c"]) -> Float[Tensor, " m"]:
    return z[:, -1] - z[:, :-1].amax(dim=1)
