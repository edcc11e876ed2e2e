"""What a step of Purchase100's network takes on a processor, part by part.

    python -m benchmarks.cpu_steps [--json FILE]

A network trains on each core, one thread each, as a pool of workers does; the figures are medians
over the cores. The whole step is timed by itself, and again while PyTorch's profiler counts its
parts. Products hold the activations that their kernels apply; copies are what is rounded to bf16
and widened again; the rest is everything else, Python included.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import torch
from joblib import Parallel, cpu_count, delayed
from torch.profiler import ProfilerActivity, profile

from benchmarks.rates import matmul_rate
from benchmarks.training import NETWORK, SEED, compute_dtype, operations
from selena.environment import describe_environment
from selena.files import write_json
from selena.seeding import torch_generator
from selena.training.engine import fit_networks
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
from selena.workspace import Workspace

RECORDS = 24 * Recipe().batch_size
PARTS = {
    "products": {"aten::mm", "aten::addmm", "mkldnn::_linear_pointwise"},
    "optimizer": {"aten::_fused_adam_"},
    "copies": {"aten::copy_"},
    "activations": {"aten::tanh", "aten::tanh_backward"},
}


def parts_of_a_step() -> dict[str, float]:
    """Return milliseconds, and what the products would take at the core's own rate."""
    torch.set_num_threads(1)
    draw = torch_generator(SEED, "records")
    x = torch.randint(0, 2, (RECORDS, NETWORK.in_features), dtype=torch.uint8, generator=draw)
    y = torch.randint(0, NETWORK.num_classes, (RECORDS,), generator=draw)
    job = Job("", torch.arange(RECORDS), SEED)

    def seconds(epochs: int) -> float:
        start = time.perf_counter()
        fit_networks(NETWORK, Examples(x, y), [job], Recipe(epochs=epochs), workspace=Workspace())
        return time.perf_counter() - start

    def a_step(seconds: float, epochs: int) -> float:
        return seconds * 1e3 / epochs / (RECORDS // Recipe().batch_size)

    seconds(1)  # kernels are chosen
    short, long = seconds(1), seconds(5)
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as seen:
        profiled = a_step(seconds(5), 5)
    events = {event.key: event.self_cpu_time_total / 1e6 for event in seen.key_averages()}
    found = {
        part: a_step(sum(events.get(name, 0.0) for name in names), 5)
        for part, names in PARTS.items()
    }
    done = operations(NETWORK) * Recipe().batch_size
    return {
        "step": a_step(long - short, 4),
        "profiled_step": profiled,
        **found,
        "rest": profiled - sum(found.values()),
        "products_at_the_measured_rate": 1e3 * done / matmul_rate(compute_dtype()),
    }


def run(cores: int) -> dict[str, float]:
    """Return the medians over `cores`, on which networks train at the same time."""
    each = Parallel(n_jobs=cores)(delayed(parts_of_a_step)() for _ in range(cores))
    return {part: median(figures[part] for figures in each) for part in each[0]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    result = {
        "command": "python -m benchmarks.cpu_steps",
        "seed": SEED,
        "environment": describe_environment(),
        "precision": str(compute_dtype()).removeprefix("torch."),
        "milliseconds": run(cpu_count()),
    }
    print(result["milliseconds"])
    if options.json:
        write_json(options.json, result)
