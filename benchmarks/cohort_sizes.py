"""Is the rule of how many networks train side by side as fast as the best size?

    python -m benchmarks.cohort_sizes [--repeats N] [--only SHAPE ...] [--json FILE]

Sixteen networks of each shape train by each fixed size in turns, so that other work on the machine
hits all alike; the rule takes one of these sizes. The ratio is the rule's median time over that of
the fastest size, chosen with the same times: 1 where the rule is the fastest. On a noisy machine
the best of five equal sizes looks a little faster than it is, so ratios are too high rather than
too low.
"""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any

import torch

from benchmarks.turns import common_options, tell, timed
from selena.networks import NetworkFactory
from selena.networks.mlp import MLP
from selena.networks.resnet import CIFAR10_MEAN, CIFAR10_STD, small_resnet
from selena.seeding import torch_generator
from selena.training.engine import Ensemble, cohort_size, fit_networks
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
from selena.workspace import Workspace

NETWORKS, SIZES = 16, (1, 2, 4, 8, 16)
# Shape -> network, features, records, batch, epochs.
SHAPES: dict[str, tuple[NetworkFactory, tuple[int, ...], int, int, int]] = {
    "table": (MLP(20, 2, (64,)), (20,), 2_000, 64, 4),
    "digits": (MLP(64, 10, (128, 64)), (64,), 1_000, 64, 6),
    "location30, quick": (MLP(446, 30, (256, 128)), (446,), 1_000, 128, 6),
    "location30": (MLP(446, 30), (446,), 500, 128, 1),
    "purchase100": (MLP(600, 100), (600,), 512, 512, 1),
    "cifar, small": (small_resnet(10, CIFAR10_MEAN, CIFAR10_STD), (3, 32, 32), 128, 64, 1),
}


def measure(name: str, repeats: int) -> dict[str, Any]:
    """Return the times of one shape."""
    network, features, records, batch, epochs = SHAPES[name]
    draws = torch_generator(0, "benchmark", name)
    x = torch.rand(records, *features, generator=draws)
    if len(features) == 3:
        x = (255 * x).to(torch.uint8)
    y = torch.randint(0, 2, (records,), generator=draws)
    jobs = [Job(f"network-{i}", torch.arange(records), i) for i in range(NETWORKS)]
    recipe = Recipe(batch_size=batch, epochs=epochs)
    ensemble = Ensemble(network, Examples(x, y), jobs, recipe)
    rule = cohort_size(ensemble, Workspace(workers=1))
    sizes = [size for size in SIZES if cohort_size(ensemble, _fixed(size)) == size]
    times: dict[int, list[float]] = {size: [] for size in sizes}
    for turn in range(repeats + 1):
        for size in sizes:
            _, taken = timed(partial(_train, ensemble, size))
            if turn:  # the first warms up
                times[size].append(taken)
    seconds = {size: median(found) for size, found in times.items()}
    best = min(seconds, key=lambda size: seconds[size])
    return {
        "shape": name,
        "rule": rule,
        "fastest": best,
        "ratio": round(seconds[rule] / seconds[best], 3),
        "seconds": {str(size): round(found, 4) for size, found in seconds.items()},
    }


def _train(ensemble: Ensemble, size: int) -> None:
    fit_networks(
        ensemble.factory,
        ensemble.examples,
        ensemble.jobs,
        ensemble.recipe,
        description="Networks",
        workspace=_fixed(size),
    )


def _fixed(size: int) -> Workspace:
    return Workspace(workers=1, cohort_size=size)


def main() -> None:
    given = common_options(__doc__, SHAPES, repeats=5).parse_args()
    found = []
    for name in given.only:
        found.append(measure(name, given.repeats))
        print(found[-1], flush=True)
    tell({"networks": NETWORKS, "shapes": found}, "cohort_sizes", given.json)


if __name__ == "__main__":
    main()
