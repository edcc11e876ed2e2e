"""Trains a small ensemble where the command line says, and writes down what came of it.

python -m tests.cluster.driver FOLDER [EXECUTOR] [--mixed] [--large] [--gpus] [--pause] [--runs]

A process of its own, so that a test can kill it. FOLDER/artifacts holds the artifacts, and
FOLDER/done.json, at the end, the digest of each network, and how many tasks were sent. With --pause
it stands still when it has sent a task and two artifacts have arrived: FOLDER/paused then names the
host that has the task, until there is a FOLDER/go. With --gpus tasks get half a GPU each, or train
on the CUDA of this process. With --runs it makes whole runs in FOLDER/runs instead.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from selena.environment.fingerprint import tensor_digest
from selena.errors import SelenaError
from selena.experiments.paper.task import PaperTask
from selena.experiments.results import run
from selena.files.writing import atomic_path
from selena.networks.mlp import MLP
from selena.pools import ray_pool
from selena.seeding import torch_generator
from selena.training import executor
from selena.training.engine import fit_networks
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
from selena.workspace import Machines, Workspace
from tests.experiments.conftest import TINY

NETWORKS = 8
ROWS = 400
CLASSES, FEATURES = 10, 500


def train(
    folder: Path, where: str, *, mixed: bool = False, records: int = 1_000, gpus: bool = False
) -> None:
    """Train the networks and write `done.json`."""
    vars(executor)["_WORTH_PROCESSES"] = 0.0
    generator = torch_generator(0, "records")
    x = torch.randn(records, FEATURES, generator=generator)
    examples = Examples(x, torch.arange(records) % CLASSES)
    jobs = [Job(f"job-{i}", torch.arange(ROWS) + i, seed=i) for i in range(NETWORKS)]
    workspace = Workspace(
        folder=folder / "artifacts", executor=where, mixed=mixed, cohort_size=1, workers=1
    )
    if gpus:  # an emulated one is slow
        here = where == "local"
        workspace = replace(
            workspace, device="cuda" if here else "cpu", task_gpus=0.0 if here else 0.5
        )
    sent = count_tasks()
    recipe = Recipe(
        epochs=2 if gpus else 40, batch_size=16, precision="float32", learning_rate=0.01
    )
    network = MLP(FEATURES, CLASSES, hidden=(256, 128))
    fitted = fit_networks(network, examples, jobs, recipe, workspace=workspace)
    digests = [tensor_digest(*net.state_dict().values()) for net in fitted]
    done = {"digests": digests, "sent": len(sent), "bytes": max(sent, default=0)}
    done["mixed"] = sorted(workspace.shared.get("mixed", ()))
    (folder / "done.json").write_text(json.dumps(done))


def count_tasks() -> list[int]:
    """Return a list that will hold the bytes of each task sent from now on."""
    sent: list[int] = []
    submit = vars(ray_pool)["_submit"]

    def counting(node: Any, needs: Any, function: Any, *arguments: Any) -> Any:
        if function is vars(ray_pool)["work"]:
            sent.append(len(arguments[0].what))
        return submit(node, needs, function, *arguments)

    vars(ray_pool)["_submit"] = counting
    return sent


def pause(folder: Path) -> None:
    """Stand still once, after the first task that is sent when two artifacts have arrived."""
    submit = vars(ray_pool)["_submit"]

    def pausing(node: Any, needs: Any, function: Any, *arguments: Any) -> Any:
        handle = submit(node, needs, function, *arguments)
        paused = folder / "paused"
        if len(list((folder / "artifacts").glob("*.safetensors"))) >= 2 and not paused.exists():
            with atomic_path(paused) as temporary:
                temporary.write_text(_name(node))
            while not (folder / "go").exists():
                time.sleep(0.05)
        return handle

    vars(ray_pool)["_submit"] = pausing


def _name(node: ray_pool.Node) -> str:
    """Return a host's name, which is that of one of its resources."""
    import ray

    (resources,) = [each["Resources"] for each in ray.nodes() if each["NodeID"] == node.key]
    (found,) = [str(name) for name in resources if name.startswith("host-")]
    return found


def make_runs(folder: Path, where: str) -> None:
    """Train and attack small runs, one of them with sub-models."""
    defenses = ["undefended", "adversarial_regularization", "selena"]
    settings = PaperTask("digits", TINY, machines=Machines(executor=where)).settings(defenses)
    sent = count_tasks() if where != "local" else []
    run(replace(settings, attacks=("direct", "shadow_squared_l2")), folder / "runs")
    (folder / "done.json").write_text(json.dumps({"sent": len(sent)}))


if __name__ == "__main__":
    options = [each for each in sys.argv[1:] if each.startswith("--")]
    folder, where, *_ = [each for each in sys.argv[1:] if each not in options] + ["local"]
    logging.basicConfig(level=logging.INFO)
    torch.set_num_threads(1)
    try:
        if "--runs" in options:
            make_runs(Path(folder), where)
            sys.exit()
        if "--pause" in options:
            pause(Path(folder))
        train(
            Path(folder),
            where,
            mixed="--mixed" in options,
            records=20_000 if "--large" in options else 1_000,
            gpus="--gpus" in options,
        )
    except SelenaError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
