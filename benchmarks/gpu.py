"""Split-AI and SELENA on a GPU: how long, and how near the device's own rate.

    python -m benchmarks.gpu purchase|resnet [--device cuda] [--out results/gpu]

`purchase` trains 25 networks of the paper's width for 30 epochs on purchase100-synthetic, the
whole of SELENA after it. `resnet` trains ResNet-18s on random images of CIFAR's shape, which take
the time that real ones do: 50,000 of them, K = 25, for `--epochs` epochs of the 30 (at least 2).
Networks are compiled, as they would be for all 30. The first epoch has whatever happens once
(compiling, measuring, recording); the last one is what every further epoch takes, and of it is the
utilisation. Operations are counted by PyTorch; the rate is that of large bf16 matrix products in
the same run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.page import how_made
from benchmarks.training import NETWORK, SEED, operations
from selena.auditing.run import run_audit
from selena.data import audit_split, load
from selena.defenses.selena import Selena
from selena.defenses.split_ai import SplitAI
from selena.files.writing import write_json
from selena.networks.resnet import CIFAR10_MEAN, CIFAR10_STD, resnet18
from selena.registry import build_attacks
from selena.seeding import torch_generator
from selena.training import gpu_step
from selena.training.batches import in_even_chunks
from selena.training.plans import PLANS
from selena.training.recipe import Recipe
from selena.types import Records
from selena.workspace import Workspace

K, L = 25, 10
EPOCHS = 30  # of the paper
SIDE_BY_SIDE = 4
_SIDE = 8_192


def seconds(work: Callable[[], Any], device: str) -> tuple[Any, float]:
    """Return what `work` returns and how long it took, with all of the device's work done."""
    wait(device)
    start = time.perf_counter()
    result = work()
    wait(device)
    return result, time.perf_counter() - start


def wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def rate(device: str) -> float:
    """Return operations a second of a large bf16 matrix product."""
    a = torch.randn(_SIDE, _SIDE, device=device, dtype=torch.bfloat16)
    best = min(seconds(lambda: a @ a, device)[1] for _ in range(10))
    return 2 * _SIDE**3 / best


def purchase(device: str, _epochs: int) -> dict[str, Any]:
    """Split-AI at Purchase100's size, then SELENA, then its direct attacks."""
    dataset = load("purchase100-synthetic")
    split, plan = audit_split(dataset, seed=SEED), PLANS["purchase100"]
    train, others = split.train, split.validation
    workspace = Workspace(device=device)
    split_ai = SplitAI(NETWORK, 100, plan.training, n_submodels=K, n_nonmodels=L)
    _, first = seconds(lambda: split_ai.fit(train, others, seed=1, workspace=workspace), device)
    _, taken = seconds(lambda: split_ai.fit(train, others, seed=SEED, workspace=workspace), device)
    done = operations(NETWORK) * plan.training.epochs * len(train) * (K - L)
    selena = Selena(NETWORK, 100, plan.training, plan.distillation, n_submodels=K, n_nonmodels=L)
    model, whole = seconds(
        lambda: selena.fit(train, others, seed=SEED, workspace=workspace), device
    )
    attacks = build_attacks(("direct",), plan, dataset)
    report, attacked = seconds(
        lambda: run_audit(model, split, attacks, seed=SEED, workspace=workspace), device
    )
    return {
        "first_split_ai_seconds": first,  # with measuring how many networks train side by side
        "split_ai_seconds": taken,
        "split_ai_utilisation": done / taken / rate(device),
        "selena_seconds": whole,
        "direct_attacks_seconds": attacked,
        "audit": report.to_json(),
    }


class EpochClock:
    """A training log that remembers when each network ended each epoch."""

    def __init__(self) -> None:
        self.ends: dict[str, list[float]] = {}

    def scalars(self, name: str, _epoch: int, _values: Mapping[str, float]) -> None:
        self.ends.setdefault(name, []).append(time.perf_counter())

    def last_epoch(self, side_by_side: int) -> float:
        """Return the seconds of the last epoch of all networks, of which some train at once."""
        spans = [ends[-1] - ends[-2] for ends in self.ends.values()]
        return float(
            sum(spans[cohort.start] for cohort in in_even_chunks(len(spans), side_by_side))
        )


def resnet(device: str, epochs: int) -> dict[str, Any]:
    """Split-AI of ResNet-18s on random images; `epochs` of the schedule."""
    gpu_step._WORTH_COMPILING = gpu_step._WORTH_COMPILING * epochs // EPOCHS
    draw = torch_generator(SEED, "images")
    n, classes = 50_000, 10
    x = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=draw)
    y = torch.randint(0, classes, (n,), generator=draw)
    records = Records(x, y, torch.arange(n))
    factory = resnet18(classes, CIFAR10_MEAN, CIFAR10_STD)
    recipe = Recipe(
        optimizer="sgd",
        learning_rate=0.1,
        momentum=0.9,
        batch_size=256,
        epochs=epochs,
        augmentation="crop_flip",
    )
    network = factory().to(device)
    with FlopCounterMode(display=False) as counter:
        network(torch.rand(2, 3, 32, 32, device=device)).sum().backward()
    done = counter.get_total_flops() / 2 * epochs * n * (K - L)
    split_ai, clock = SplitAI(factory, classes, recipe, n_submodels=K, n_nonmodels=L), EpochClock()
    workspace = Workspace(device=device, log=clock, cohort_size=SIDE_BY_SIDE)
    _, taken = seconds(
        lambda: split_ai.fit(
            records, records.take(torch.arange(100)), seed=SEED, workspace=workspace
        ),
        device,
    )
    further = clock.last_epoch(SIDE_BY_SIDE)
    return {
        "epochs": epochs,
        "seconds": taken,
        "seconds_of_a_further_epoch": further,
        "seconds_of_all_epochs": taken + (EPOCHS - epochs) * further,
        "utilisation": done / epochs / further / rate(device),
        "side_by_side": SIDE_BY_SIDE,
    }


STAGES = {"purchase": purchase, "resnet": resnet}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results/gpu"))
    options = parser.parse_args()
    figures = STAGES[options.stage](options.device, options.epochs)
    result = {
        **how_made("gpu"),
        "seed": SEED,
        **figures,
    }
    write_json(options.out / f"{options.stage}.json", result)
    print(f"Written: {options.out / options.stage}.json")
