"""The table attack x budget: what each attack finds with 0, 4, 16 and 64 reference models.

    python -m benchmarks.budgets --data-dir downloads --out results/location30-budgets.json
    python -m benchmarks.budgets --dataset purchase100-synthetic --out FILE

Per defense one pool of models is trained on halves of 2,000 records. Eight of them are the target
in turn, and 4, 16 and 64 of the others its reference models. Trained matrices stay in `--folder`.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.page import how_made
from selena.attacks.reference_matrix import ReferenceMatrix
from selena.attacks.reference_statistics import StatisticName, StatisticSettings
from selena.attacks.reference_training import train_reference_matrix
from selena.attacks.reference_turns import scores_in_turn
from selena.data.load import load
from selena.defenses.dp_sgd import DPSGD
from selena.defenses.selena import Selena
from selena.defenses.undefended import Undefended
from selena.files.writing import write_json
from selena.metrics.low_fpr import tpr_at_fpr
from selena.metrics.roc import roc_curve
from selena.networks import NetworkFactory
from selena.networks.mlp import MLP
from selena.networks.resnet import CIFAR10_MEAN, CIFAR10_STD, small_resnet
from selena.training.recipe import Recipe
from selena.types import Records

POOL, VALIDATION, TARGETS, SEED = 2000, 200, 8, 0
BUDGETS = (4, 16, 64)
FPRS = (0.01, 0.001)
DEFENSES = ("undefended", "dp_sgd", "selena")
ATTACKS: dict[str, tuple[StatisticName, StatisticSettings]] = {
    "lira": ("lira", StatisticSettings()),
    "rmia": ("rmia", StatisticSettings()),
    "bavaria": ("bavaria", StatisticSettings()),
    "empirical_bayes": ("empirical_bayes", StatisticSettings()),
    "lira_offline": ("lira", StatisticSettings(online=False)),
    "rmia_offline": ("rmia", StatisticSettings(online=False)),
    "base_offline": ("base", StatisticSettings(online=False)),
    "bavaria_offline": ("bavaria", StatisticSettings(online=False)),
    "lira_shared": ("lira", StatisticSettings(variance="shared")),
    "lira_record": ("lira", StatisticSettings(variance="record")),
    "lira_offline_shared": ("lira", StatisticSettings(variance="shared", online=False)),
    "lira_offline_record": ("lira", StatisticSettings(variance="record", online=False)),
}


def defenses(features: tuple[int, ...], classes: int) -> dict[str, Any]:
    """Return the defenses with networks small enough to train hundreds: for tables or images."""
    if len(features) == 1:
        network: NetworkFactory = MLP(features[0], classes, hidden=(256,))
        recipe, private = Recipe(epochs=40, batch_size=64), Recipe(epochs=20, batch_size=64)
    else:
        network = small_resnet(classes, CIFAR10_MEAN, CIFAR10_STD)
        recipe = private = Recipe(epochs=20, batch_size=64)
    return {
        "undefended": Undefended(network, classes, recipe),
        "dp_sgd": DPSGD(network, classes, private, target_epsilon=8.0),
        "selena": Selena(network, classes, recipe, recipe, n_submodels=5, n_nonmodels=2),
    }


def matrix_of(
    name: str, training: Any, pool: Records, validation: Records, folder: Path, most: int
) -> tuple[ReferenceMatrix, dict[str, Any]]:
    """Return the pool's matrix, trained, grown or found, with what one training costs and is worth.

    It grows in two steps, so that smaller budgets need not wait for the largest.
    """
    file, facts = folder / f"{name}.npz", folder / f"{name}.json"
    matrix = ReferenceMatrix.load(file) if file.exists() else None
    spent = json.loads(facts.read_text(encoding="utf-8")) if file.exists() else {}
    for runs in (min(18, most), most):
        if matrix is not None and matrix.runs >= runs:
            continue
        wall, processor = time.perf_counter(), time.process_time()
        matrix = train_reference_matrix(
            training, pool, validation, runs=runs, seed=SEED, grow=matrix
        )
        spent["wall_seconds"] = spent.get("wall_seconds", 0) + time.perf_counter() - wall
        spent["cpu_seconds"] = spent.get("cpu_seconds", 0) + time.process_time() - processor
        if "test_accuracy" not in spent:
            half = torch.from_numpy(matrix.inside[0])
            model = training.fit(pool.take(half), validation, seed=SEED)
            right = (model.logits(pool.x).argmax(dim=1) == pool.y).double()
            spent["train_accuracy"] = float(right[half].mean())
            spent["test_accuracy"] = float(right[~half].mean())
        matrix.save(file)
        write_json(facts, spent)
    assert matrix is not None
    cost = {f"{each}_per_run": spent[each] / matrix.runs for each in spent if "seconds" in each}
    accuracies = {each: spent[each] for each in spent if "accuracy" in each}
    return matrix, {"runs": matrix.runs, **cost, **accuracies}


def figures(scores: list[np.ndarray], truths: list[np.ndarray]) -> dict[str, Any]:
    """Return mean and spread over the targets of AUC and TPRs at low FPRs."""
    curves = [roc_curve(each, truth) for each, truth in zip(scores, truths, strict=True)]
    values = {"auc": [curve.auc for curve in curves]}
    for fpr in FPRS:
        values[f"tpr@{fpr:g}"] = [tpr_at_fpr(curve, fpr).tpr for curve in curves]
    return {
        name: {
            "mean": float(np.mean(each)),
            "sd": float(np.std(each, ddof=1)),
            "values": [round(float(value), 5) for value in each],
        }
        for name, each in values.items()
    }


def rows_of(matrix: ReferenceMatrix) -> list[dict[str, Any]]:
    targets = range(TARGETS)
    truths = [matrix.inside[target] for target in targets]
    alone = [matrix.confidences[target] for target in targets]
    rows = [{"attack": "confidence", "runs": 0, **figures(alone, truths)}]
    for runs in (each for each in BUDGETS if each <= matrix.runs - 2):
        for name, (statistic, settings) in ATTACKS.items():
            start = time.perf_counter()
            scores = [
                scores_in_turn(matrix, target, statistic, settings, runs=runs) for target in targets
            ]
            seconds = (time.perf_counter() - start) / TARGETS
            found = {"attack": name, "runs": runs, "scoring_seconds": round(seconds, 4)}
            rows.append(found | figures(scores, truths))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", default="location30", help="name, or an archive's path")
    parser.add_argument("--data-dir", type=Path, help="folder of the data set's archive")
    parser.add_argument("--folder", type=Path, default=Path("runs/budgets"))
    parser.add_argument("--defense", action="append", choices=DEFENSES)
    parser.add_argument("--runs", type=int, default=66, help="models per defense")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    data = load(options.dataset, data_dir=options.data_dir)
    order = torch.randperm(len(data.records), generator=torch.Generator().manual_seed(SEED))
    pool = data.records.take(order[:POOL])
    validation = data.records.take(order[POOL : POOL + VALIDATION])
    options.folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, training in defenses(tuple(pool.x.shape[1:]), data.num_classes).items():
        if options.defense and name not in options.defense:
            continue
        matrix, cost = matrix_of(name, training, pool, validation, options.folder, options.runs)
        found[name] = {**cost, "rows": rows_of(matrix)}
        print(name, cost)
        for row in found[name]["rows"]:
            shown = [f"{row[key]['mean']:.3f}" for key in ("auc", "tpr@0.01", "tpr@0.001")]
            print(f"  {row['attack']:19} {row['runs']:3}", *shown)
    if options.out:
        result = {
            **how_made("budgets"),
            "dataset": options.dataset,
            "records": POOL,
            "targets": TARGETS,
            "seed": SEED,
            "defenses": found,
        }
        write_json(options.out, result)


if __name__ == "__main__":
    main()
