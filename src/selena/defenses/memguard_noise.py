"""MemGuard's search for the noise that makes its inference network undecided.

Jia et al., "MemGuard: Defending against Black-Box Membership Inference Attacks via Adversarial
Examples", CCS 2019, Section 4.1 (Algorithm 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from selena.defenses.memguard_inference import InferenceNetwork
from selena.defenses.memguard_walk import Walks
from selena.errors import ConfigError

# Smallest number of queries for which another thread is worth it.
_LEAST_PART = 250


@dataclass(frozen=True)
class NoiseSearch:
    """Settings of the search; the defaults are the paper's.

    Let z be the (sorted) logits, p = softmax(z), h the inference network's logit and y the
    predicted class. The search descends c1 |h(p)| + c2 relu(max over j != y of z_j - z_y) +
    c3 ||p - p_0||_1 until h has changed its sign while y is still predicted. Then it starts again
    with c3 ten times larger, for less noise, as long as that succeeds.

    Attributes:
        c1: weight of the inference network's decision.
        c2: weight of keeping the predicted class.
        c3: first weight of the distortion.
        c3_factor: factor of c3 after each success, > 1.
        c3_most: largest c3 to try.
        step: length of each step (the gradient is normalised).
        most_steps: most steps for each c3.
        undecided: a query with a score this close to 0.5 gets no noise.
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
            raise ConfigError(f"MemGuard's weights, step, most_steps must be above 0; got {self}.")
        if self.c3_factor <= 1:
            raise ConfigError(f"c3_factor is {self.c3_factor}; it must be above 1.")

    def run(
        self, network: nn.Module, logits: Float[Tensor, "n c"]
    ) -> tuple[Float[Tensor, "n c"], Bool[Tensor, " n"]]:
        """Return for each query the last logits found, and whether any were found.

        Every query has its own c3 and step count, and leaves the batch when it is done. The result
        does not depend on the batch, except for rounding in the seventh digit. Large batches are
        divided among as many threads as PyTorch uses.

        Args:
            network: linear layers with ReLU between them and one output (see `MLP`), on sorted
                probabilities.
            logits: float64 (float32 has too few numbers near 1), in ascending order in each row,
                so that the predicted class is last.
        """
        found = logits.detach().clone()
        success = torch.zeros(len(found), dtype=torch.bool)
        search = partial(self._search, InferenceNetwork(network))
        parts = max(1, min(torch.get_num_threads(), len(found) // _LEAST_PART))
        with _one_thread_each(), ThreadPoolExecutor(parts) as pool:
            for _ in pool.map(search, found.chunk(parts), success.chunk(parts)):
                pass  # raises here the errors of the threads
        return found, success

    @torch.inference_mode()
    def _search(
        self, network: InferenceNetwork, logits: Float[Tensor, "n c"], success: Bool[Tensor, " n"]
    ) -> None:
        """Write the results into `logits` and `success`."""
        start = network.pieces(logits.softmax(dim=1))
        query = torch.nonzero((start.score.sigmoid() - 0.5).abs() > self.undecided).squeeze(1)
        walks = Walks(network, logits[query], start.take(query))
        c3, steps = torch.full_like(walks.lead, self.c3), torch.zeros_like(query)
        while len(query):
            # Gradients are normalised, so all weights are given in units of c1.
            reached = walks.step(self.step, self.c2 / self.c1, c3 / self.c1)
            steps += 1
            if len(reached):
                logits[query[reached]] = walks.z[reached]
                success[query[reached]] = True
                walks.restart(reached)
                steps[reached] = 0
                c3[reached] *= self.c3_factor
            searching = (steps < self.most_steps) & (c3 <= self.c3_most)
            if not bool(searching.all()):
                walks.keep(searching)
                query, c3, steps = (each[searching] for each in (query, c3, steps))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Make PyTorch's operations run on the thread that calls them.

    A step is dozens of operations of microseconds each. If each used several threads, they would
    wait for each other after every operation, and longer on a busy machine.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
