"""The page about clusters shows costs that follow from committed results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import cluster_costs

ROOT = Path(__file__).resolve().parents[2]
COSTS = json.loads((ROOT / "results" / "cluster" / "costs.json").read_text())
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")


def test_costs_follow_from_committed_results() -> None:
    again = cluster_costs.result()
    assert again.keys() == COSTS.keys()
    names = ("records_1e7_k_100", "lira_64_runs_of_selena_on_cifar100", "selena_on_purchase100")
    for name in names:
        for rate, hours in COSTS[name].items():
            assert again[name][rate] == pytest.approx(hours)
    name = "table2_on_purchase100_synthetic"
    assert again[name].keys() == COSTS[name].keys()
    assert again[name]["minutes_2_seeds_on_4"] == pytest.approx(COSTS[name]["minutes_2_seeds_on_4"])
    assert again["traffic_records_1e7_k_100"] == COSTS["traffic_records_1e7_k_100"]


def test_page_shows_the_costs() -> None:
    shown = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if line.startswith(("| SELENA, 10", "| the same", "| LiRA, 64"))
    ]
    (slow, fast), (gpu,) = (
        COSTS[name].values() for name in ("records_1e7_k_100", "lira_64_runs_of_selena_on_cifar100")
    )
    if slow["all_hours"] < fast["all_hours"]:
        slow, fast = fast, slow
    for cells, hours in zip(shown, (slow, fast, gpu), strict=True):
        most = "hours_on_64" if hours is gpu else "hours_on_100"
        names = ["all_hours", "hours_on_1", "hours_on_8", most]
        numbers = [cell.split(" ")[0] for cell in cells[2:6]]
        for number, name in zip(numbers, names, strict=True):
            assert float(number) == pytest.approx(hours[name], rel=0.02)
    (minutes,) = [line for line in PAGE.splitlines() if line.startswith("| minutes |")]
    at_once = COSTS["selena_on_purchase100"]["core, AVX2, float32"]
    for cell, cores in zip(minutes.split("|")[2:-1], (1, 2, 4, 8, 25), strict=True):
        assert float(cell) == pytest.approx(at_once[f"minutes_on_{cores}"], rel=0.02)
    for seeds in (1, 2):
        name = f"| Table 2, {seeds} seed"
        (line,) = [each for each in PAGE.splitlines() if each.startswith(name)]
        for cell, machines in zip(line.split("|")[2:-1], cluster_costs.NODES, strict=True):
            least = COSTS["table2_on_purchase100_synthetic"]
            assert float(cell) == pytest.approx(
                least[f"minutes_{seeds}_seeds_on_{machines}"], rel=0.01
            )
