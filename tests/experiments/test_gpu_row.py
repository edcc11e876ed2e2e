"""The row of CIFAR-100 that a GPU trains: rehearsed in small on the processor."""

from __future__ import annotations

from pathlib import Path

import pytest

from selena.config import override, read_toml
from selena.data.paper import paper_partition
from selena.training.plans import PLANS
from tests.data.test_paper import dataset
from tests.experiments.gpu_row import FILE, rehearse

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.mark.deep
def test_gpu_row_runs_in_small(tmp_path: Path) -> None:
    rows = rehearse(tmp_path, "cpu", plan={"architecture": "mlp", "hidden": [8]})
    assert [row["defense"] for row in rows] == ["undefended", "selena"]
    for row in rows:
        assert set(row["families"]) == {"direct", "label-only", "adaptive"}
        assert "augmentation" in row["attacks"]


def test_gpu_row_is_the_papers() -> None:
    settings = read_toml(FILE)
    plan = settings["plan"]
    assert (plan["architecture"], plan["n_submodels"], plan["n_nonmodels"]) == ("resnet18", 25, 10)
    assert settings["data"]["partition"] == "paper"
    assert paper_partition(dataset("cifar100", 60_000, pool=50_000)).members == 50_000
    built = override(PLANS["cifar100"], plan)
    training = built.training
    assert training == built.distillation
    assert training.rate_at(training.epochs - 1, 194, 195) < 1e-3 * training.learning_rate
