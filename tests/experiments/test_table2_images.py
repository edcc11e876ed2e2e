"""Table 2 on images: CIFAR-100 by its name, beside the paper's row, at a tiny scale."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from selena.cli import app
from selena.config import merged
from selena.data import cifar
from selena.experiments.paper import table2
from selena.experiments.paper.task import PAPER, QUICK, SCALES, PaperTask
from selena.experiments.pipeline import cases
from selena.reports.runs import Run
from tests.data.cifar_archives import cifar100_files, pack
from tests.experiments.conftest import TINY

FEW = {"batch_size": 32, "epochs": 2}
SMALL = replace(
    QUICK,
    name="small",
    plan=merged(TINY.plan, {"hidden": [8]}),
    image_plan=merged(
        QUICK.image_plan, {"architecture": "mlp", "training": FEW, "distillation": FEW}
    ),
    image_members=100,
    defense_settings=TINY.defense_settings,
    attack_settings={
        **TINY.attack_settings,
        "boundary": {"steps": 2, "searches": 1},
    },
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hold a small archive that passes for the published one."""
    archive = pack(tmp_path / cifar.CIFAR100.archive, cifar100_files(train=100, test=24))
    content = cifar.content_digest(cifar.read(archive))
    monkeypatch.setattr(cifar, "CIFAR100", replace(cifar.CIFAR100, content=content))
    monkeypatch.setitem(SCALES, "small", SMALL)
    return tmp_path


def test_label_only_attacks_on_images(folder: Path) -> None:
    quick, paper = (PaperTask("cifar100", scale, (0,), folder) for scale in (QUICK, PAPER))
    attacks = {item.case.defense: item.attacks for item in table2.items(quick)}
    distances = ("augmentation", "gaussian_noise", "boundary")
    assert attacks["undefended"] == ("direct", *distances)
    assert attacks["memguard"] == ("direct", *distances[:2])
    assert attacks["selena"] == ("direct", *distances, "adaptive")
    assert table2.items(paper)[0].attacks == ("direct", "label-only", "boundary")
    digits = PaperTask("digits", PAPER)
    assert table2.items(digits)[0].attacks == ("direct", "label-only")


def test_quick_scale_of_images(folder: Path) -> None:
    task = PaperTask("cifar100", QUICK, (0,), folder)
    (case,) = cases(task.settings(["selena"]), 0)
    plan = case.build_plan(task.load())
    assert (plan.architecture, plan.n_submodels, plan.n_nonmodels) == ("small_resnet", 10, 4)
    assert plan.training == plan.distillation
    assert (plan.training.optimizer, plan.training.schedule) == ("sgd", "one_cycle")
    assert plan.adversary.alpha == 1.0
    assert (QUICK.image_members, task.settings(["selena"]).data.n_members) == (5_000, 100)


@pytest.mark.deep
def test_table_of_cifar100_beside_the_paper(folder: Path) -> None:
    arguments = ["reproduce", "table2", "--dataset", "cifar100", "--scale", "small"]
    arguments += ["--data-dir", str(folder), "--runs", str(folder / "runs")]
    arguments += ["--out", str(folder / "out")]
    planned = CliRunner().invoke(app, [*arguments, "--plan"])
    assert planned.exit_code == 0, planned.output
    assert "selena, seed 0" in planned.output
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    found = json.loads((folder / "out/table2.json").read_text())
    assert found["paper"]["defenses"]["selena"]["best"]["percent"] == 58.3
    lines = table2.lines([Run(row) for row in found["rows"]], "cifar100")
    assert [line[1].text for line in lines] == ["this run", "paper (approximate)"] * 4
    assert [cell.text for cell in lines[-1][3:]] == ["74.6", "55.1", "54.0", "58.3", "58.3", "58.3"]
    for row in found["rows"]:
        assert ("boundary" in row["attacks"]) == (row["defense"] != "memguard")
        assert {"augmentation", "gaussian_noise"} < set(row["attacks"])
        assert ("adaptive" in row["families"]) == (row["defense"] == "selena")
    assert "Carlini and Wagner" in (folder / "out/table2.md").read_text()
