"""What a step of a ResNet-18 takes on a GPU: called, replayed, beside others, compiled.

    python -m benchmarks.gpu_steps [--device cuda] [--out results/gpu]

A step is forward, backward and SGD of 256 images of CIFAR's shape in bf16. It is why the engine
records steps, trains four such networks at once and compiles long training.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch.nn import functional

from benchmarks.gpu import rate, seconds
from benchmarks.page import how_made
from selena.files.writing import write_json
from selena.networks import NetworkFactory
from selena.networks.resnet import CIFAR10_MEAN, CIFAR10_STD, resnet18
from selena.training.forward import forward_in
from selena.training.gpu_step import Replay, compiled, stream_on
from selena.training.optimizer import Optimizer
from selena.training.recipe import Recipe

BATCH, CLASSES, STEPS = 256, 10, 30
RECIPE = Recipe(optimizer="sgd", learning_rate=0.1, momentum=0.9, batch_size=BATCH)
NETWORK = resnet18(CLASSES, CIFAR10_MEAN, CIFAR10_STD)


def one(
    factory: NetworkFactory, device: torch.device, *, record: bool, compile_network: bool
) -> Replay:
    """Return a network's step, which takes the learning rate."""
    x = torch.rand(BATCH, 3, 32, 32, device=device)
    y = torch.randint(0, CLASSES, (BATCH,), device=device)
    network = factory().to(device).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    computed = compiled(network, BATCH) if compile_network else network
    forward = forward_in(torch.bfloat16, computed, device)
    optimizer = Optimizer(network.parameters(), RECIPE)

    def learn(learning_rate: torch.Tensor) -> None:
        functional.cross_entropy(forward(x), y).backward()
        optimizer.step(learning_rate)

    return Replay(learn, device, stream_on(device), record=record)


def milliseconds(
    factory: NetworkFactory, device: torch.device, side_by_side: int, **how: bool
) -> float:
    """Return what a step takes a network, of some that train at once."""
    networks = [one(factory, device, **how) for _ in range(side_by_side)]
    learning_rate = torch.tensor(0.01)

    def steps(count: int) -> None:
        for _ in range(count):
            for step in networks:
                step(learning_rate)

    seconds(lambda: steps(8), str(device))  # kernels are chosen, compiled and recorded
    _, taken = seconds(lambda: steps(STEPS), str(device))
    return taken / STEPS / side_by_side * 1e3


def run(factory: NetworkFactory, device: torch.device) -> dict[str, float]:
    """Return milliseconds a step and network."""
    figures = {"called": milliseconds(factory, device, 1, record=False, compile_network=False)}
    for fast in (False, True):
        for k in (1, 2, 4):
            name = f"{'compiled' if fast else 'replayed'}_{k}_at_once"
            figures[name] = milliseconds(factory, device, k, record=True, compile_network=fast)
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=Path("results/gpu"))
    options = parser.parse_args()
    result = {
        **how_made("gpu_steps"),
        "matmul_rate": rate(options.device),
        "milliseconds": run(NETWORK, torch.device(options.device)),
    }
    write_json(options.out / "steps.json", result)
    print(result)
