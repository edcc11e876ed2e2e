"""MemGuard's noise for 1,000 queries: all at once against one at a time.

Run with `python -m benchmarks.memguard`. Both are this library's search, whose batch of one is
as quick as it gets; first the answers are compared, then the clock is read.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from selena.data.load import load
from selena.data.split import audit_split
from selena.defenses.memguard import MemGuard, MemGuardModel
from selena.defenses.undefended import Undefended
from selena.networks.mlp import MLP
from selena.training.recipe import Recipe

# Crossing a threshold one step sooner or later, by the last digit, moves an answer visibly.
SHARE_THAT_MAY_DIFFER = 0.01


def build(members: int) -> tuple[MemGuardModel, Tensor]:
    """Return a filtered Purchase100-like model, and its members and as many others."""
    split = audit_split(load("purchase100-synthetic", size=5 * members), members=members, seed=0)
    undefended = Undefended(MLP(600, 100), 100, Recipe(epochs=15))
    model = MemGuard(undefended).fit(split.train, split.validation, seed=0)
    x = torch.cat([split.known.members.x, split.evaluation.non_members.x[: members // 2]])
    return model, x


def timed(answer: Callable[[], Tensor]) -> tuple[Tensor, float]:
    start = time.perf_counter()
    return answer(), time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model, x = build(members=max(arguments.queries, 3000))
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[: arguments.queries]]
    together, seconds = timed(lambda: model.logits(x))
    apart, seconds_apart = timed(lambda: torch.cat([model.logits(row[None]) for row in x]))

    differ = (together.exp() - apart.exp()).abs().sum(dim=1) > 1e-3
    if float(differ.float().mean()) > SHARE_THAT_MAY_DIFFER:
        raise SystemExit(f"{int(differ.sum())} of {len(x)} answers differ: nothing was compared.")
    if not torch.equal(together.argmax(dim=1), model.predicted_labels(x)):
        raise SystemExit("A predicted class has changed.")
    plain = model.target.logits(x).softmax(dim=1)
    noisy = (together.exp() - plain).abs().sum(dim=1)
    print(
        f"{len(x)} queries, {int((noisy > 1e-6).sum())} with noise "
        f"(mean L1 {float(noisy.mean()):.3f}), {int(differ.sum())} answers differ\n"
        f"at once         {seconds:8.2f} s  {len(x) / seconds:8.0f} queries/s\n"
        f"one at a time   {seconds_apart:8.2f} s  {len(x) / seconds_apart:8.0f} queries/s\n"
        f"ratio           {seconds_apart / seconds:8.1f}"
    )


if __name__ == "__main__":
    main()
