"""MemGuard's noise for 1,000 queries: all at once against a plain search, one at a time.

    python -m benchmarks.memguard [--queries N] [--baseline N]

The plain search takes some of the queries, one after another, through autograd; its time is
scaled to all of them. Before the clock is read its noise is compared with the library's: the same
queries must succeed, with the same noise. Both are timed from sorted logits on, without the target
model's pass, which is the same; of 3 repeats, interleaved, each side's best counts.

Two figures say how far the machine is used, both over the rate of a large float32 matrix product
in the same run. `utilisation` counts the products that were computed. `model_utilisation` counts
a forward and a backward pass of the whole network for each step, as the search is told; it may
exceed 1, for most steps stay on a linear artifact of the network that is known, and need neither.
What is left is memory traffic: at each step some 27 passes over a row of 100 float64 numbers.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.rates import matmul_rate
from selena.data.load import load
from selena.data.split import audit_split
from selena.defenses.memguard import MemGuard, MemGuardModel, searchable
from selena.defenses.memguard_inference import InferenceNetwork
from selena.defenses.undefended import Undefended
from selena.networks.mlp import MLP
from selena.training.recipe import Recipe
from tests.defenses.plain_memguard import one_by_one, work

REPEATS = 3
TOLERANCE = 1e-4
# A pass forward and one back, a multiplication and an addition a weight.
FLOP_PER_WEIGHT = 4


def build(members: int) -> tuple[MemGuardModel, Tensor]:
    """Return a filtered Purchase100-like model, and its members and as many others."""
    split = audit_split(load("purchase100-synthetic", size=5 * members), n_members=members, seed=0)
    undefended = Undefended(MLP(600, 100), 100, Recipe(epochs=15))
    model = MemGuard(undefended).fit(split.train, split.validation, seed=0)
    x = torch.cat([split.known.members.x, split.evaluation.non_members.x[: members // 2]])
    return model, x


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def run(queries: int = 1000, baseline: int = 50) -> dict[str, Any]:
    """Return the times of both, as `benchmarks.attacks.run` does.

    Raises:
        AssertionError: noise, successes or labels are not the same.
    """
    model, x = build(members=max(queries, 3000))
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:queries]]
    z, _ = searchable(model.target.logits(x))
    search, network = model.search, model.inference
    found, success = search.run(network, z)
    plain = [one_by_one(search, network, row) for row in z[:baseline]]
    assert success[:baseline].tolist() == [count > 0 for _, count in plain], "successes differ"
    expected = torch.stack([noisy for noisy, _ in plain])
    torch.testing.assert_close(found[:baseline], expected, rtol=0, atol=TOLERANCE)
    labels, expected = (m.logits(x).argmax(dim=1) for m in (model, model.labels_of))
    assert torch.equal(labels, expected), "labels differ"

    quick, slow, rate = float("inf"), float("inf"), 0.0
    for _ in range(REPEATS):
        rate = max(rate, matmul_rate(torch.float32))
        quick = min(quick, seconds(lambda: search.run(network, z)))
        slow = min(slow, seconds(lambda: [one_by_one(search, network, r) for r in z[:baseline]]))
    slow *= queries / baseline
    steps, asked = work(search, network, z)
    stage = {
        "ratio": slow / quick,
        "seconds": quick,
        "baseline_seconds": slow,
        "records": queries,
        "baseline_records": baseline,
        "queries_per_second": queries / quick,
        "utilisation": FLOP_PER_WEIGHT * asked * _used_weights(network) / quick / rate,
        "model_utilisation": FLOP_PER_WEIGHT * steps * _weights(network) / quick / rate,
        "steps": steps,
        "steps_that_ask_the_network": asked,
        "threads": torch.get_num_threads(),
    }
    return {"stages": {"memguard": stage}}


def _weights(network: nn.Module) -> int:
    return sum(m.weight.numel() for m in network.modules() if isinstance(m, nn.Linear))


def _used_weights(network: nn.Module) -> int:
    return sum(weight.numel() for weight in InferenceNetwork(network).weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--baseline", type=int, default=50, help="queries of the plain search")
    options = parser.parse_args()
    print(json.dumps(run(options.queries, options.baseline), indent=2))


if __name__ == "__main__":
    main()
