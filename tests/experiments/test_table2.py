"""Table 2, run on a tiny scale: what is planned is done, and what is written can be read."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor
from typer.testing import CliRunner

from selena.auditing.figure import figures_of
from selena.cli import app
from selena.errors import ConfigError
from selena.experiments.paper import figure4, table2
from selena.experiments.paper.budget import (
    PlanLine,
    Speed,
    Work,
    calibrate,
    defense_trainings,
    total,
)
from selena.experiments.paper.document import Document
from selena.experiments.paper.runs import run_items
from selena.experiments.paper.task import PAPER, QUICK, SCALES, PaperTask
from selena.experiments.pipeline import cases
from selena.reports.runs import Run
from selena.reports.table import percent
from selena.training.cohort import Cohort
from selena.training.network_state import NetworkState

DEFENSES = list(table2.DEFENSES)


@dataclass
class Trained:
    """What was really done: steps of each network trained to its end."""

    steps: dict[str, int] = field(default_factory=dict)

    @property
    def classifiers(self) -> dict[str, int]:
        small = ("memguard", "neural", "shadow_neural")
        return {name: n for name, n in self.steps.items() if not name.startswith(small)}

    @property
    def tries(self) -> int:
        """How often MemGuard trained its inference network."""
        return sum(name.startswith("memguard") for name in self.steps)


@pytest.fixture(scope="module")
def counted() -> Iterator[Trained]:
    """Count every network that the engine finishes, and the steps it took."""
    done = Trained()
    with pytest.MonkeyPatch.context() as patch:
        step, steps_of_part = NetworkState.step, Cohort._step
        finish, steps = NetworkState.finish, Counter[NetworkState]()

        def counting_step(state: NetworkState, rate: float) -> None:
            steps[state] += 1
            step(state, rate)

        def counting_part(
            bundle: Cohort, part: slice, moving: dict[NetworkState, Tensor], number: int
        ) -> None:
            steps.update(state for state in bundle._lanes[part] if state in moving)
            steps_of_part(bundle, part, moving, number)

        def counting_finish(state: NetworkState) -> None:
            done.steps[f"{state.job.name}-{len(done.steps)}"] = steps[state]
            finish(state)

        patch.setattr(NetworkState, "step", counting_step)
        patch.setattr(Cohort, "_step", counting_part)
        patch.setattr(NetworkState, "finish", counting_finish)
        yield done


@dataclass
class Finished:
    """One tiny Table 2 and everything about it."""

    runs: Path
    out: Path
    plan: list[PlanLine]
    document: Document
    news: list[str]

    @property
    def json(self) -> Any:
        return json.loads((self.out / "table2.json").read_text())


@pytest.fixture(scope="module")
def finished(
    tiny: PaperTask, counted: Trained, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    folder = tmp_path_factory.mktemp("table2")
    runs, out, news = folder / "runs", folder / "out", list[str]()
    plan = table2.plan(tiny, runs)
    document = table2.run(tiny, runs, command="selena test", tell=news.append)
    document.write(out, "selena test")
    return Finished(runs, out, plan, document, news)


def test_what_was_planned_was_trained(finished: Finished, counted: Trained) -> None:
    planned = total(finished.plan)
    assert len(counted.classifiers) == planned.networks == 9
    # The adversary of adversarial regularization has no state of its own, and MemGuard's network
    # is planned once; here it finds no way across with any decay.
    assert counted.tries == 3
    networks = len(counted.steps) - len(counted.classifiers) - (counted.tries - 1)
    assert networks == planned.attack_networks - 1
    # Sub-models see about 1 - L/K of the records.
    assert sum(counted.classifiers.values()) == pytest.approx(planned.steps, rel=0.05)


def test_every_kind_of_work_has_a_price() -> None:
    speed = Speed(step=1, private_step=100, attack_record=10)
    assert speed.seconds(Work(steps=2, attack_records=3)) == 32
    assert speed.seconds(Work(steps=3, private_steps=2)) == 201


def test_every_kind_of_network_is_timed(tiny: PaperTask) -> None:
    speed = calibrate(tiny, Work(steps=1))
    assert min(speed.step, speed.attack_record) > 0
    assert speed.private_step == 0


def test_steps_of_dp_sgd_have_their_own_price(tiny: PaperTask) -> None:
    pytest.importorskip("opacus", reason="needs the extra `dp`")
    (case,) = cases(tiny.settings(["dp_sgd"]), 0)
    defense = case.build_defense(tiny.load())
    work = sum(defense_trainings(defense, 100, 50).values(), Work())
    assert work.private_steps == work.steps > 0
    speed = calibrate(tiny, work)
    assert speed.private_step > speed.step


def test_a_second_plan_finds_everything(finished: Finished, tiny: PaperTask) -> None:
    again = table2.plan(tiny, finished.runs)
    assert total(again) == Work()
    assert [line.found for line in again] == ["model and attacks"] * 4


@pytest.mark.deep
def test_the_command_plans_finds_and_writes(
    finished: Finished,
    counted: Trained,
    tiny: PaperTask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(SCALES, "tiny", tiny.scale)
    monkeypatch.setenv("COLUMNS", "200")
    before = len(counted.steps)
    arguments = ["reproduce", "table2", "--dataset", "digits", "--scale", "tiny"]
    folders = ["--runs", str(finished.runs), "--out", str(tmp_path)]
    planned = CliRunner().invoke(app, [*arguments, *folders, "--plan"])
    assert "model and attacks" in planned.stdout
    assert not any(tmp_path.iterdir())
    done = CliRunner().invoke(app, [*arguments, *folders])
    assert done.exit_code == 0, done.output
    assert "selena, seed 0: test accuracy" in done.stdout
    assert "The paper has no figures for digits." in done.stdout
    assert json.loads((tmp_path / "table2.json").read_text())["rows"] == finished.json["rows"]
    # Nothing but the calibration's few networks was trained.
    assert all(name.startswith("calibration") for name in list(counted.steps)[before:])


@pytest.mark.parametrize("what", ["table2", "figure4", "ablation"])
def test_unknown_names_are_errors_with_the_fix(what: str, tmp_path: Path) -> None:
    runs = ["--runs", str(tmp_path)]
    done = CliRunner().invoke(app, ["reproduce", what, "--dataset", "digts", *runs])
    assert isinstance(done.exception, ConfigError)
    assert "Did you mean 'digits'" in str(done.exception)
    done = CliRunner().invoke(app, ["reproduce", what, "--scale", "pape", *runs])
    assert "Did you mean 'paper'" in str(done.exception)


def test_another_attack_setting_is_work_ahead(finished: Finished, tiny: PaperTask) -> None:
    settings = {**tiny.scale.attack_settings, "neural": {"epochs": 3}}
    task = replace(tiny, scale=replace(tiny.scale, attack_settings=settings))
    assert [line.found for line in table2.plan(task, finished.runs)] == ["model"] * 4


def test_csv_has_our_lines_alone_without_a_paper(finished: Finished) -> None:
    with (finished.out / "table2.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["defense"] for row in rows] == DEFENSES
    for row in rows:
        for name in ("train_acc", "test_acc", "direct", "label_only", "best", "best_on_evaluation"):
            low, high = map(float, row[f"{name}_spread"].split("–"))
            assert 0 <= low <= float(row[name]) <= high <= 100
        assert (row["adaptive"] == "–") == (row["defense"] != "selena")


def test_json_rows_are_those_of_a_run(finished: Finished) -> None:
    data = finished.json
    assert data["schema"] == "selena-run/2"
    assert data["command"] == "selena test"
    assert data["environment"]["packages"]["torch"]
    assert data["seeds"] == [0]
    assert data["reproduction"]["scale"]["name"] == "tiny"
    assert data["reproduction"]["members"] == 120
    assert data["paper"] == {"dataset": "digits", "defenses": {}}
    assert [row["defense"] for row in data["rows"]] == DEFENSES
    lines = table2.lines([Run(row) for row in data["rows"]], "digits")
    for row, line in zip(data["rows"], lines, strict=True):
        best = figures_of(row)["balanced_accuracy"]
        of_family = figures_of(row, best.family)["balanced_accuracy"]
        assert replace(of_family, ties=best.ties) == best
        on_evaluation = [
            family["strongest_on_evaluation"]["balanced_accuracy"]
            for family in row["families"].values()
        ]
        assert max(on_evaluation) >= best.value
        assert line[-2].text == percent(best.value)
        assert line[-1].text == percent(max(on_evaluation))


def test_everything_is_written_and_told(finished: Finished) -> None:
    assert (finished.out / "table2.png").read_bytes().startswith(b"\x89PNG")
    assert (finished.out / "table2.pdf").read_bytes().startswith(b"%PDF")
    assert r"adversarial\_regularization" in (finished.out / "table2.tex").read_text()
    text = (finished.out / "table2.md").read_text()
    assert "The paper has no figures for digits." in text
    assert '"members": 120' in text
    assert [line.split(",")[0] for line in finished.news] == DEFENSES


def test_seeds_give_deviations_beside_the_paper(finished: Finished) -> None:
    rows = finished.json["rows"]
    rows = rows + [{**row, "seed": 1, "test_accuracy": row["test_accuracy"] / 2} for row in rows]
    lines = table2.lines([Run(row) for row in rows], "purchase100-synthetic")
    assert len(lines) == 8
    ours, paper = lines[6], lines[7]
    assert ours[3].spread.startswith("± ")
    assert paper[1].text == "paper (approximate), real Purchase100"
    assert [(cell.text, cell.spread) for cell in paper[3:]] == [
        ("79.3", "exact"),
        ("53.3", ""),
        ("53.2", ""),
        ("54.3", ""),
        ("54.3", "exact"),
        ("54.3", "exact"),
    ]
    assert lines[1][6].text == "–"


@pytest.mark.deep  # it draws 20,000 purchases
def test_scales_of_the_synthetic_set() -> None:
    quick = PaperTask("purchase100-synthetic", QUICK)
    assert quick.describe()["members"] == 2_500
    assert quick.describe()["records"] == 10_000
    small = PaperTask("purchase100-synthetic", replace(PAPER, size=20_000))
    assert small.describe()["members"] == 2_000  # a tenth, as the paper has it
    settings = small.settings(["selena"])
    assert settings.data.partition == "paper"
    assert settings.plan == {}


def test_fewer_attacks_later_leave_the_audit_as_it_was(finished: Finished, tiny: PaperTask) -> None:
    (item,) = figure4.items(tiny)  # SELENA of the same settings, four attacks only
    folder = item.case.folder(finished.runs, tiny.load())
    before = folder.audit()
    ((_, report),) = run_items([item], tiny, finished.runs)
    assert set(report.attacks) < set(before["attacks"])
    assert folder.audit() == before
