"""What two large pieces of work cost on a cluster, computed from what was measured on one machine.

python -m benchmarks.cluster_costs --json results/cluster/costs.json

Nothing is trained here. A unit is one step's share of one record: forward, backward and optimizer.
The rates of units come from committed results of this code. Times are units divided by rates: they
are those of the networks of these results on machines without other work, without attacks' queries.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from selena.files.writing import write_json
from selena.networks.mlp import MLP
from selena.training.executor import operations_per_record
from selena.training.plans import PLANS

RESULTS = Path(__file__).resolve().parents[1] / "results"
MEMBERS = 19_732  # of Purchase100, in the stage `selena_end_to_end`
IMAGES = 50_000  # in results/gpu/resnet.json
K, L, EPOCHS, DISTILLATION = 25, 10, 30, 60  # of both
RECORDS, MANY_K, MANY_L = 10_000_000, 100, 40
REFERENCES, POOL = 64, 60_000
HOUR = 3600.0
TABLE = "purchase100-synthetic-table2/table2.json"
NODES = (1, 2, 4, 8)
LARGEST_FIRST = ("selena", "adversarial_regularization", "memguard", "undefended")


def per_record(n_submodels: int, n_nonmodels: int, epochs: int, distillation: int) -> int:
    """Return how many units SELENA takes per record."""
    return (n_submodels - n_nonmodels) * epochs + distillation


def rates() -> dict[str, dict[str, Any]]:
    """Return the measured units per second, of one core or one GPU."""
    units = MEMBERS * per_record(K, L, EPOCHS, DISTILLATION)
    found: dict[str, dict[str, Any]] = {}
    for name, file in (
        ("core, AVX2, float32", "benchmarks-float32.json"),
        ("core, AVX-512, bf16", "benchmarks.json"),
    ):
        result = read(file)
        cores = result["machine"]["threads"]
        seconds = result["stages"]["selena_end_to_end"]["seconds"]
        found[name] = {"from": file, "units_per_second": units / seconds / cores}
    epoch = read("gpu/resnet.json")["seconds_of_a_further_epoch"]
    found["H200, ResNet-18"] = {
        "from": "gpu/resnet.json",
        "units_per_second": IMAGES * (K - L) / epoch,
    }
    return found


def read(name: str) -> dict[str, Any]:
    """Return a committed result."""
    return dict(json.loads((RESULTS / name).read_text()))


def many_records(rate: float) -> dict[str, float]:
    """Return hours for 10^7 records with K = 100: all of it, the longest task, and the path."""
    units = RECORDS * per_record(MANY_K, MANY_L, EPOCHS, DISTILLATION)
    submodel = RECORDS * (1 - MANY_L / MANY_K) * EPOCHS
    student = RECORDS * DISTILLATION
    return {
        "all_hours": units / rate / HOUR,
        "submodel_hours": submodel / rate / HOUR,
        "student_hours": student / rate / HOUR,
        **{
            f"hours_on_{n}": (submodel * -(-MANY_K // n) + student) / rate / HOUR
            for n in (1, 8, 100)
        },
    }


def one_selena(rate: float) -> dict[str, float]:
    """Return minutes for SELENA on Purchase100 as in the paper, by how many tasks run at once."""
    submodel, student = MEMBERS * (1 - L / K) * EPOCHS, MEMBERS * DISTILLATION
    return {
        f"minutes_on_{n}": (submodel * -(-K // n) + student) / rate / 60 for n in (1, 2, 4, 8, 25)
    }


def many_references(rate: float) -> dict[str, float]:
    """Return hours for LiRA with 64 runs of SELENA on halves of CIFAR-100."""
    plan = PLANS["cifar100"]
    each = POOL // 2 * per_record(K, L, plan.training.epochs, plan.distillation.epochs)
    return {
        "reference_hours": each / rate / HOUR,
        "all_hours": REFERENCES * each / rate / HOUR,
        **{f"hours_on_{n}": -(-REFERENCES // n) * each / rate / HOUR for n in (1, 8, 64)},
    }


def table2() -> dict[str, Any]:
    """Return minutes of Table 2 by seeds and machines, from the times of its rows on one machine.

    Rows go to machines as `selena.experiments.whole_runs` hands them out, one per machine. A row of
    SELENA that stays with the driver takes as long there as it took alone: how much sooner it ends
    because others train its sub-models is left out.
    """
    result = read(TABLE)
    rows: dict[str, list[float]] = {name: [] for name in LARGEST_FIRST}
    for name, times in sorted(result["timings"].items()):
        defense = next(each for each in rows if f"-{each}-seed" in name)
        seconds = times["train_seconds"] + sum(times["attack_seconds"].values())
        rows[defense].append(seconds / 60)
    found: dict[str, Any] = {"from": TABLE, "minutes_of_rows": rows}
    for seeds in (1, 2):
        some = {name: minutes[:seeds] for name, minutes in rows.items()}
        for machines in NODES:
            found[f"minutes_{seeds}_seeds_on_{machines}"] = _path(some, machines)
    return found


def _path(rows: dict[str, list[float]], machines: int) -> float:
    here = rows["selena"] if len(rows["selena"]) < machines else []
    busy = [0.0] * machines
    for name in LARGEST_FIRST:
        for minutes in rows[name] if name != "selena" or not here else []:
            first = busy.index(min(busy))
            busy[first] += minutes
    return max(sum(here), *busy)


def traffic() -> dict[str, float]:
    """Return what travels for 10^7 records of Purchase100's shape, in GB."""
    network = MLP(600, 100, hidden=PLANS["purchase100"].hidden)
    weights = operations_per_record(network) / 6
    return {
        "records_gb_per_node": RECORDS * (600 + 8) / 1e9,
        "soft_labels_gb": RECORDS * 100 * 4 / 1e9,
        "weights_gb_back": MANY_K * weights * 4 / 1e9,
    }


def result() -> dict[str, Any]:
    """Return what is written."""
    found = rates()
    cores = {name: rate for name, rate in found.items() if name.startswith("core")}
    gpu = found["H200, ResNet-18"]["units_per_second"]
    return {
        "command": "python -m benchmarks.cluster_costs --json results/cluster/costs.json",
        "computed": True,
        "units": found,
        "records_1e7_k_100": {
            name: many_records(rate["units_per_second"]) for name, rate in cores.items()
        },
        "selena_on_purchase100": {
            name: one_selena(rate["units_per_second"]) for name, rate in cores.items()
        },
        "lira_64_runs_of_selena_on_cifar100": {"H200, ResNet-18": many_references(gpu)},
        "table2_on_purchase100_synthetic": table2(),
        "traffic_records_1e7_k_100": traffic(),
    }


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    write_json(parser.parse_args().json, result())


if __name__ == "__main__":
    main()
