"""Figure 4 and the ablation on a tiny scale."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from selena.auditing.figure import figures_of
from selena.auditing.verdict import LEVELS
from selena.errors import ConfigError
from selena.experiments.paper import ablation, figure4
from selena.experiments.paper.budget import total
from selena.experiments.paper.task import PaperTask


@pytest.mark.deep
def test_figure4_attacks_every_epoch(tiny: PaperTask, tmp_path: Path) -> None:
    runs, out = tmp_path / "runs", tmp_path / "out"
    assert total(figure4.plan(tiny, runs)).networks == 1 + 3 + 1  # undefended, sub-models, student
    figure4.run(tiny, runs, command="selena test").write(out, "selena test")
    data = json.loads((out / "figure4.json").read_text())
    assert data["schema"] == "selena-figure4/2"
    assert [row["epoch"] for row in data["rows"]] == [1, 2, 3]
    for row in [*data["rows"], data["selena"]]:
        figure = figures_of(row, "direct")["balanced_accuracy"]
        assert 0 <= figure.interval[0] <= figure.value <= figure.interval[1] <= 1
        assert set(row["families"]) == {"direct"}
        assert row["verdict"]["level"] in LEVELS
    # It is one run: it learns its members better and better.
    assert data["rows"][0]["train_accuracy"] < data["rows"][-1]["train_accuracy"]
    with (out / "figure4.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "–"]
    assert (out / "figure4.png").exists()
    assert (out / "figure4.pdf").exists()
    assert not (runs / "artifacts").exists()  # the epochs' weights were dropped


def test_figure4_is_of_one_run(tiny: PaperTask, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one seed"):
        figure4.plan(replace(tiny, seeds=(0, 1)), tmp_path)


@pytest.mark.deep
def test_ablation_trains_every_size_once(tiny: PaperTask, tmp_path: Path) -> None:
    runs, out = tmp_path / "runs", tmp_path / "out"
    plan = ablation.plan(tiny, runs)
    # K=3 with L=1 stands in both sweeps.
    sizes = [(3, 1), (5, 2), (3, 2)]
    assert [line.label for line in plan] == [
        "undefended",
        *(f"selena, K={k}, L={l}" for k, l in sizes),  # noqa: E741,
    ]
    assert total(plan).networks == 1 + sum(k + 1 for k, _ in sizes)
    ablation.run(tiny, runs, command="selena test").write(out, "selena test")
    data = json.loads((out / "ablation.json").read_text())
    assert [(row["k"], row["l"]) for row in data["rows"]] == [(0, 0), *sizes]
    assert "summary" not in data
    with (out / "ablation.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["k"], row["l"]) for row in rows] == [
        ("–", "–"),
        ("3", "1"),
        ("5", "2"),
        ("3", "2"),
    ]
    assert len({row["test_acc"] for row in rows}) > 1
    assert (out / "ablation.png").exists()


def test_ablation_is_of_one_seed(tiny: PaperTask, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one seed"):
        ablation.plan(replace(tiny, seeds=(0, 1)), tmp_path)
