"""DP-SGD beside the loop of Opacus that keeps one gradient per record.

    python -m benchmarks.dp_sgd [--repeats N] [--json FILE]

Both sides train the paper's network for Purchase100 for an epoch of batches of 512, from the same
weights, batches and noise; their weights are compared before any time is reported.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import opacus
import opacus.optimizers
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.training import NETWORK, operations
from benchmarks.turns import common_options, take_turns, tell
from selena.data.load import load
from selena.defenses.dp_sgd import DPSGD
from selena.seeding import child_seed, torch_generator
from selena.training.recipe import Recipe
from selena.types import Records

SEED, CLASSES, MEMBERS, BATCH = 0, 100, 1_024, 512
RECIPE = Recipe(optimizer="sgd", learning_rate=0.1, batch_size=BATCH, epochs=1)
DEFENSE = DPSGD(replace(NETWORK, standardize=False), CLASSES, RECIPE)
TOLERANCE = 1e-4


def ours(records: Records, defense: DPSGD = DEFENSE) -> dict[str, Tensor]:
    return dict(defense.fit(records, records, seed=SEED).model.network.named_parameters())


def per_record(records: Records, start: dict[str, Tensor]) -> dict[str, Tensor]:
    """Train with a gradient per record, as `opacus.PrivacyEngine` does by default."""
    network = DEFENSE.network()
    network.load_state_dict(start)
    optimizer = opacus.optimizers.DPOptimizer(
        torch.optim.SGD(network.parameters(), lr=RECIPE.learning_rate),
        noise_multiplier=DEFENSE.noise_multiplier,
        max_grad_norm=DEFENSE.max_grad_norm,
        expected_batch_size=BATCH,
    )
    optimizer.generator = torch.Generator().manual_seed(child_seed(SEED, "noise", 0))
    hooked = opacus.GradSampleModule(network, loss_reduction="sum")
    batches = torch_generator(SEED, "batches", 0)
    for _ in range(MEMBERS // BATCH):
        rows = torch.nonzero(torch.rand(MEMBERS, generator=batches) < BATCH / MEMBERS).squeeze(1)
        logits = hooked(records.x[rows].float())
        functional.cross_entropy(logits, records.y[rows], reduction="sum").backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    hooked.to_standard_module()
    return dict(network.named_parameters())


def run(repeats: int) -> dict[str, Any]:
    """Return the stage: two forward and backward passes are counted, the second for clipping."""
    records = load("purchase100-synthetic", size=MEMBERS).records
    still = replace(DEFENSE, recipe=replace(RECIPE, learning_rate=1e-30))
    start = {name: each.detach().clone() for name, each in ours(records, still).items()}
    done = operations(NETWORK) * MEMBERS * 5 / 3
    stage, mine, theirs = take_turns(
        lambda: ours(records),
        lambda: per_record(records, start),
        done,
        torch.float32,
        repeats,
    )
    for name, weight in theirs.items():
        apart = float((mine[name] - weight).abs().max())
        if not apart < TOLERANCE:
            raise SystemExit(f"{name} differs by {apart}")
    return {"stages": {"dp_sgd": stage | {"steps": MEMBERS // BATCH}}}


def main() -> None:
    options = common_options(__doc__, ("dp_sgd",), repeats=5).parse_args()
    tell(run(options.repeats), "dp_sgd", options.json)


if __name__ == "__main__":
    main()
