"""MemGuard's noise for 1,000 queries: all at once against one at a time.

Run with `python -m benchmarks.memguard`. Both are this library's search, whose batch of one is
as quick as it gets; first the answers are compared, then the clock is read.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

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


def run(queries: int = 1000) -> dict[str, Any]:
    """Return the times of both, as `benchmarks.attacks.run` does.

    Raises:
        AssertionError: the answers are not the same.
    """
    model, x = build(members=max(queries, 3000))
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:queries]]
    together, seconds = timed(lambda: model.logits(x))
    apart, baseline = timed(lambda: torch.cat([model.logits(row[None]) for row in x]))
    differ = (together.exp() - apart.exp()).abs().sum(dim=1) > 1e-3
    assert float(differ.float().mean()) <= SHARE_THAT_MAY_DIFFER, f"{int(differ.sum())} differ"
    assert torch.equal(together.argmax(dim=1), model.predicted_labels(x)), "a label has changed"
    stage = {
        "ratio": baseline / seconds,
        "seconds": seconds,
        "baseline_seconds": baseline,
        "records": queries,
        "answers_that_differ": int(differ.sum()),
    }
    return {"stages": {"memguard": stage}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=1000)
    print(json.dumps(run(parser.parse_args().queries), indent=2))


if __name__ == "__main__":
    main()
