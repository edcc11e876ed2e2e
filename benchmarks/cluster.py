"""Work on one host of a Ray cluster and on two: are the results equal, and what is gained?

python -m benchmarks.cluster --json results/cluster/nodes.json
python -m benchmarks.cluster ensemble

The first makes Table 2 at a small scale, whose rows are sent whole. The second trains 8 sub-models
of equal length; they are not long enough to be sent to a cluster, so the threshold is lowered here.
Both need root and the extra ray. The hosts are emulated on this machine, one core each, and share
its memory (`tests/cluster/hosts.py`). Each number of hosts has a cluster of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from selena.environment.description import describe_environment
from selena.environment.fingerprint import tensor_digest
from selena.experiments.paper import table2
from selena.experiments.paper.task import PaperTask, scale_named
from selena.files.writing import write_json
from selena.networks.mlp import MLP
from selena.seeding import torch_generator
from selena.training import executor
from selena.training.engine import fit_networks
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
from selena.workspace import Machines, Workspace
from tests.cluster.hosts import cluster

DATASET, SCALE = "digits", "quick"
WORTH = 1e10  # operations
NETWORKS, RECORDS, FEATURES, CLASSES = 8, 4_000, 500, 10
ENSEMBLE = Recipe(epochs=24, batch_size=64, precision="float32")


def table(folder: Path) -> dict[str, Any]:
    """Make Table 2 in `folder`."""
    task = PaperTask(DATASET, scale_named(SCALE), machines=Machines(executor="ray"))
    document = table2.run(task, folder / "runs", command="python -m benchmarks.cluster table2")
    return {"table": [[[cell.text, cell.spread] for cell in line] for line in document.table.lines]}


def ensemble(folder: Path) -> dict[str, Any]:
    """Train sub-models of equal length on synthetic records; warm workers begin."""
    x = torch.randn(RECORDS, FEATURES, generator=torch_generator(0, "records"))
    examples = Examples(x, torch.arange(RECORDS) % CLASSES)
    network = MLP(FEATURES, CLASSES, hidden=(512, 256))
    workspace = Workspace(folder=folder / "artifacts", executor="ray", cohort_size=1)

    def fit(name: str, recipe: Recipe) -> list[str]:
        jobs = [Job(f"{name}-{i}", torch.arange(RECORDS), seed=i) for i in range(NETWORKS)]
        fitted = fit_networks(network, examples, jobs, recipe, workspace=workspace)
        return [tensor_digest(*each.state_dict().values()) for each in fitted]

    fit("warm", replace(ENSEMBLE, epochs=1))
    start = time.perf_counter()
    digests = fit("submodel", ENSEMBLE)
    return {"ensemble": digests, "seconds": time.perf_counter() - start}


WORK: dict[str, tuple[str, Callable[[Path], dict[str, Any]]]] = {
    "table": (f"selena reproduce table2 --dataset {DATASET} --scale {SCALE}", table),
    "ensemble": (f"{NETWORKS} networks on {RECORDS} records, {ENSEMBLE.epochs} epochs", ensemble),
}


def drive(work: str, folder: Path) -> None:
    """Do the work in `folder`, on the cluster of RAY_ADDRESS."""
    if work == "ensemble":
        vars(executor)["_WORTH_PROCESSES"] = WORTH
    start = time.perf_counter()
    done = WORK[work][1](folder)
    write_json(folder / "done.json", {"seconds": time.perf_counter() - start, **done})


def on_hosts(work: str, count: int) -> dict[str, Any]:
    """Return what comes of the work on so many hosts, and its time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with cluster(folder) as machines:
            for number in range(count):
                machines.add(f"host-{number}")
            machines.wait_for(count)
            before = os.getloadavg()[0]
            command = [sys.executable, "-m", "benchmarks.cluster", work, "--drive", str(folder)]
            subprocess.run(command, env=machines.environment, check=True)
            found: dict[str, Any] = json.loads((folder / "done.json").read_text())
            received = [host.received() for host in machines.hosts]
    return {**found, "load_before": before, "bytes_received": received}


def main() -> None:
    """Do one work on one host and on two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=WORK, nargs="?", default="table")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        drive(options.work, options.drive)
        return
    found = {count: on_hosts(options.work, count) for count in (1, 2)}
    made = [each.pop(options.work) for each in found.values()]
    result = {
        "command": shlex.join(["python", "-m", "benchmarks.cluster", *sys.argv[1:]]),
        "work": WORK[options.work][0],
        "seed": 0,
        "n": 1,
        "spread": "one run each: none",
        **({"worth_operations": WORTH} if options.work == "ensemble" else {}),
        "hosts": found,
        f"{options.work}s_equal": made[0] == made[1],
        "time_ratio": found[1]["seconds"] / found[2]["seconds"],
        options.work: made[0],
        "environment": describe_environment(),
    }
    print(
        json.dumps(
            {name: result[name] for name in ("hosts", f"{options.work}s_equal", "time_ratio")}
        )
    )
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
