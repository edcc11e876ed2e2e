"""How near a copy must be to be found, what that costs, and what a copy gives away at a distance.

    python -m benchmarks.near_copies --data-dir DIR --json FILE [--seeds 1 2 3] [--find-only]
    python -m benchmarks.near_copies --json FILE --tables

Location30 with canaries: each record in training that has a wrong label gets a copy with the same
label that differs in some bits. "found" counts pairs that `near_duplicates="auto"` links, and
ordinary records that it links too. "leak" trains SELENA beside copies, with exact recognition and
with "auto", and attacks the canaries with RMIA. The network is smaller than the plan's, and there
are few sub-models and reference models.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from selena.auditing.report import AuditReport
from selena.content.keyed import group_by_content
from selena.content.near_duplicates import NearDuplicates, join_near
from selena.environment.description import describe_environment
from selena.experiments.pipeline import Case, DataSettings, attack, train
from selena.files.writing import write_json
from selena.types import Dataset
from selena.workspace import Workspace

DISTANCES = (1, 4, 8, 16, 32)
FOUND_BY: tuple[NearDuplicates, ...] = ("auto", 4.0, 8.0, 16.0, 24.0, 32.0)
CANARIES = 300
RUNS = 4
PLAN: dict[str, Any] = {
    "hidden": (512, 256, 128),
    "n_submodels": 5,
    "n_nonmodels": 2,
    "training": {"epochs": 30},
    "distillation": {"epochs": 30},
}


def case(
    data_dir: Path, seed: int, distance: int | None, near: NearDuplicates, *, planted: bool = True
) -> Case:
    """Return SELENA beside copies at a distance, or beside canaries alone (None)."""
    canaries: dict[str, Any] = {"canaries": CANARIES} if planted else {}
    if distance is not None:
        canaries |= {"canary_kind": "twins", "canary_distance": float(distance)}
    data = DataSettings("location30", data_dir=data_dir, **canaries)
    return Case(data, "selena", seed, "last", {**PLAN, "near_duplicates": near}, {})


def found(dataset: Dataset, data_dir: Path, seed: int, distance: int) -> list[dict[str, Any]]:
    """Return, for each way of finding, the shares of pairs and of ordinary records linked."""
    split = case(data_dir, seed, distance, "auto").split(dataset)
    assert split.canaries is not None
    records, n = split.train, len(split.canaries.members)
    contents = group_by_content(records.x).numpy()
    first, copies, others = (
        slice(len(records) - 2 * n, len(records) - n),
        slice(len(records) - n, len(records)),
        slice(0, len(records) - 2 * n),
    )
    rows = []
    for near in FOUND_BY:
        units = join_near(records.x, contents, contents, near)
        sizes = np.bincount(units)
        rows.append(
            {
                "near_duplicates": near,
                "distance": distance,
                "seed": seed,
                "pairs": n,
                "pairs_found": int((units[first] == units[copies]).sum()),
                "ordinary": others.stop,
                "ordinary_linked": int((sizes[units[others]] > 1).sum()),
                "largest": int(sizes.max()),
            }
        )
    return rows


def leak(
    data_dir: Path, seed: int, distance: int | None, near: NearDuplicates, work: Path
) -> dict[str, Any]:
    """Train SELENA and return what RMIA tells of the canaries."""
    workspace = Workspace(folder=work / f"artifacts-{seed}")
    start = time.process_time()
    folder = train(case(data_dir, seed, distance, near), work / "runs", workspace)
    report = attack(folder, ["rmia"], workspace, attack_settings={"rmia": {"runs": RUNS}})
    canaries = report.attacks["rmia"].canaries
    assert canaries is not None
    figures = canaries.summary
    return {
        "distance": distance,
        "near_duplicates": near,
        "seed": seed,
        "canaries_in": figures.members,
        "canaries_out": figures.non_members,
        "tpr_at_1_percent_fpr": figures.tpr_at_fpr[0.01].tpr,
        "tpr_interval": figures.tpr_at_fpr[0.01].interval,
        "tpr_at_10_percent_fpr": figures.tpr_at_fpr[0.1].tpr,
        "auc": figures.auc,
        "auc_interval": figures.auc_interval,
        "test_accuracy": report.test_accuracy.value,
        "processor_seconds": time.process_time() - start,
    }


def unplanted(data_dir: Path, seed: int, near: NearDuplicates, work: Path) -> dict[str, Any]:
    """Train SELENA without canaries and return its accuracy."""
    workspace = Workspace(folder=work / f"artifacts-{seed}")
    folder = train(case(data_dir, seed, None, near, planted=False), work / "runs", workspace)
    report: AuditReport = attack(folder, ["confidence"], workspace)
    return {"near_duplicates": near, "seed": seed, "test_accuracy": report.test_accuracy.value}


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return mean and standard deviation over the seeds."""
    keys = list(dict.fromkeys((row["distance"], row["near_duplicates"]) for row in rows))
    lines = []
    for distance, near in keys:
        line: dict[str, Any] = {"distance": distance, "near_duplicates": near}
        same = [r for r in rows if (r["distance"], r["near_duplicates"]) == (distance, near)]
        for name in ("tpr_at_1_percent_fpr", "tpr_at_10_percent_fpr", "auc", "test_accuracy"):
            values = [row[name] for row in same]
            line[name] = {"mean": mean(values), "sd": stdev(values) if len(values) > 1 else None}
        lines.append({**line, "seeds": len(same)})
    return lines


def tables(results: dict[str, Any]) -> str:
    """Return the results as two Markdown tables, in percent."""
    lines = ["| near_duplicates | " + " | ".join(f"{d} bits" for d in DISTANCES) + " | ordinary |"]
    lines.append("| --- " * (len(DISTANCES) + 2) + "|")
    for near in FOUND_BY:
        cells, rows = [], [r for r in results["found"] if r["near_duplicates"] == near]
        for distance in DISTANCES:
            same = [r for r in rows if r["distance"] == distance]
            share = sum(r["pairs_found"] for r in same) / sum(r["pairs"] for r in same)
            cells.append(f"{100 * share:.1f}")
        ordinary = sum(r["ordinary_linked"] for r in rows) / sum(r["ordinary"] for r in rows)
        lines.append(f"| {near} | {' | '.join(cells)} | {100 * ordinary:.2f} |")
    lines += [
        "",
        "| copy at | exact, TPR | exact, AUC | auto, TPR | auto, AUC |",
        "| --- " * 5 + "|",
    ]
    found = {(r["distance"], r["near_duplicates"]): r for r in results["leak"]["by_distance"]}

    def cell(distance: int | None, near: str, name: str) -> str:
        figure = found[distance, near][name] if (distance, near) in found else None
        if figure is None:
            return "–"
        return f"{100 * figure['mean']:.1f} ± {100 * figure['sd']:.1f}"

    distances: list[int | None] = [None, *DISTANCES]
    for copy_at in distances:
        what = "no copy" if copy_at is None else f"{copy_at} bits"
        cells = [
            cell(copy_at, near, name)
            for near in ("exact", "auto")
            for name in ("tpr_at_1_percent_fpr", "auc")
        ]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data-dir", type=Path, default=Path("downloads"), help="folder of the archive"
    )
    parser.add_argument("--json", type=Path, required=True, help="where to write the results")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--find-only", action="store_true", help="train nothing")
    parser.add_argument("--tables", action="store_true", help="print what the file holds")
    parser.add_argument("--work", type=Path, help="folder for networks, to go on after a stop")
    given = parser.parse_args()
    if given.tables:
        print(tables(json.loads(given.json.read_text(encoding="utf-8"))))
        return
    dataset = case(given.data_dir, 0, None, "auto").dataset()
    results: dict[str, Any] = {
        "command": "python -m benchmarks.near_copies --data-dir DIR --json FILE "
        f"--seeds {' '.join(map(str, given.seeds))}",
        "environment": describe_environment(),
        "found": [
            row
            for seed in given.seeds
            for distance in DISTANCES
            for row in found(dataset, given.data_dir, seed, distance)
        ],
    }
    write_json(given.json, results)
    if given.find_only:
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        plan = {**PLAN, "hidden": list(PLAN["hidden"])}
        rows: list[dict[str, Any]] = []
        bare: list[dict[str, Any]] = []
        for seed in given.seeds:
            asked: list[tuple[int | None, NearDuplicates]] = [(None, "exact")]
            asked += [(d, near) for d in DISTANCES for near in ("exact", "auto")]
            for distance, near in asked:
                rows.append(leak(given.data_dir, seed, distance, near, work))
                print(rows[-1], flush=True)
            for near in ("exact", "auto"):
                bare.append(unplanted(given.data_dir, seed, near, work))
                print(bare[-1], flush=True)
            results["leak"] = {
                "plan": plan,
                "reference_models": RUNS,
                "canaries": CANARIES,
                "by_distance": summary(rows),
                "runs": rows,
                "without_canaries": bare,
            }
            write_json(given.json, results)


if __name__ == "__main__":
    main()
