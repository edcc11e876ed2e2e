"""MemGuard's search for the noise that makes its inference network undecided.

Jia et al., "MemGuard: Defending against Black-Box Membership Inference Attacks via Adversarial
Examples", CCS 2019, Section 4.1 (Algorithm 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from selena.errors import ConfigError

_BLOCK = 256


@dataclass(frozen=True)
class NoiseSearch:
    """Settings of the search; the defaults are the paper's.

    With z the logits (sorted), p = softmax(z), h the inference network's logit and y the
    predicted class it walks down c1 |h(p)| + c2 relu(max over j != y of z_j - z_y) +
    c3 ||p - p_0||_1 until h has changed sign and y is still predicted. Then it starts again with
    c3 ten times larger, for less noise, as long as that succeeds.

    Attributes:
        c1: weight of the inference network's decision.
        c2: weight of keeping the predicted class.
        c3: first weight of the distortion.
        c3_factor: what it is multiplied by after each success, > 1.
        c3_most: the last weight tried is at most this.
        step: length of each step (the gradient is normalised).
        most_steps: steps at most for each c3.
        undecided: a query whose score lies this close to 0.5 is left alone.
    """

    c1: float = 1.0
    c2: float = 10.0
    c3: float = 0.1
    c3_factor: float = 10.0
    c3_most: float = 1e5
    step: float = 0.1
    most_steps: int = 300
    undecided: float = 1e-5

    def __post_init__(self) -> None:
        if min(self.c1, self.c2, self.c3, self.step) <= 0 or self.most_steps < 1:
            raise ConfigError(f"MemGuard's weights, step and most_steps are above 0; got {self}.")
        if self.c3_factor <= 1:
            raise ConfigError(f"c3_factor is {self.c3_factor}; above 1 it ends the search.")

    def run(
        self, network: nn.Module, logits: Float[Tensor, "n c"]
    ) -> tuple[Float[Tensor, "n c"], Bool[Tensor, " n"]]:
        """Return for each query the last logits found, and whether any were.

        Every query has its own c3 and step count; one that is done leaves the batch, so the
        work is that of the queries still searching. The result is that of one at a time, up to
        rounding (batches of other sizes round otherwise, in the ninth digit).

        Args:
            network: linear layers with ReLU between them and one output (see `MLP`), on sorted
                probabilities.
            logits: float64 (near 1, float32 has no probabilities left to choose from), rising
                in each row, so that the predicted class stands last.
        """
        inference = _Inference(network)
        found, success = logits.clone(), torch.zeros(len(logits), dtype=torch.bool)
        p_0 = logits.softmax(dim=1)
        score_0, pull_0 = inference(p_0)
        query = torch.nonzero((score_0.sigmoid() - 0.5).abs() > self.undecided).squeeze(1)
        # What a query begins each c3 with ...
        begin = _Queries(logits, p_0, pull_0).take(query)
        score_0, p_0 = score_0[query], p_0[query]
        # ... and where it is now.
        now, c3, steps = begin, torch.full_like(score_0, self.c3), torch.zeros_like(query)
        while len(query):
            z = now.z - self.step * _normalised(self._slope(now, p_0, c3))
            p = z.softmax(dim=1)
            score, pull = inference(p)
            now, steps = _Queries(z, p, pull), steps + 1
            kept = z[:, -1] > z[:, :-1].amax(dim=1)
            reached = kept & (score * score_0 <= 0)
            found[query[reached]] = z[reached]
            success[query[reached]] = True
            c3 = torch.where(reached, c3 * self.c3_factor, c3)
            searching = torch.where(reached, c3 <= self.c3_most, steps < self.most_steps)
            steps = torch.where(reached, 0, steps)
            if bool(reached.any()):
                now = now.replaced(reached, begin)
            if not bool(searching.all()):
                begin, now = begin.take(searching), now.take(searching)
                query, score_0, p_0, c3, steps = (
                    each[searching] for each in (query, score_0, p_0, c3, steps)
                )
        return found, success

    def _slope(
        self, now: _Queries, p_0: Float[Tensor, "m c"], c3: Float[Tensor, " m"]
    ) -> Float[Tensor, "m c"]:
        """Return the gradient of the loss by z, where the label is the last class."""
        by_p = self.c1 * now.pull + c3[:, None] * (now.p - p_0).sign()
        slope = now.p * (by_p - (by_p * now.p).sum(dim=1, keepdim=True))
        rival, which = now.z[:, :-1].max(dim=1, keepdim=True)
        losing = self.c2 * (rival > now.z[:, -1:]).to(slope.dtype)
        slope[:, -1:] -= losing
        return slope.scatter_add_(1, which, losing)


@dataclass(frozen=True, eq=False)
class _Queries:
    """Where queries stand: logits, probabilities, and the gradient of |h| by the latter."""

    z: Float[Tensor, "m c"]
    p: Float[Tensor, "m c"]
    pull: Float[Tensor, "m c"]

    def take(self, rows: Tensor) -> _Queries:
        return _Queries(self.z[rows], self.p[rows], self.pull[rows])

    def replaced(self, rows: Bool[Tensor, " m"], by: _Queries) -> _Queries:
        chosen = rows[:, None]
        return _Queries(
            torch.where(chosen, by.z, self.z),
            torch.where(chosen, by.p, self.p),
            torch.where(chosen, by.pull, self.pull),
        )


class _Inference:
    """The inference network with its gradient, written out: faster than autograd.

    It computes in float32, as it was trained, and in blocks that stay in the processor's cache.
    """

    def __init__(self, network: nn.Module) -> None:
        linears = [m for m in network.cpu().modules() if isinstance(m, nn.Linear)]
        self._weights = [m.weight.detach() for m in linears]
        self._transposed = [weight.T.contiguous() for weight in self._weights]
        self._biases = [m.bias.detach() for m in linears]

    def __call__(self, p: Float[Tensor, "m c"]) -> tuple[Float[Tensor, " m"], Float[Tensor, "m c"]]:
        """Return the logit h(p), and the gradient of |h| by p."""
        blocks = map(self._block, p.float().split(_BLOCK))
        logit, slope = map(torch.cat, zip(*blocks, strict=True))
        return logit.squeeze(1).double(), slope.double()

    def _block(self, p: Float[Tensor, "b c"]) -> tuple[Float[Tensor, "b 1"], Float[Tensor, "b c"]]:
        values = [p]
        for weight, bias in zip(self._transposed[:-1], self._biases[:-1], strict=True):
            values.append(torch.addmm(bias, values[-1], weight).relu_())
        logit = torch.addmm(self._biases[-1], values[-1], self._transposed[-1])
        slope = logit.sign() * self._weights[-1]
        for weight, value in zip(self._weights[-2::-1], values[:0:-1], strict=True):
            # The gradient of a ReLU: none where it is closed.
            slope = torch.where(value > 0, slope, 0.0) @ weight
        return logit, slope


def _normalised(slope: Float[Tensor, "m c"]) -> Float[Tensor, "m c"]:
    length = slope.norm(dim=1, keepdim=True)
    # A flat place (every ReLU closed) stays where it is, and fails in the end.
    unit: Tensor = slope / length.clamp_min(torch.finfo(slope.dtype).tiny)
    return unit
