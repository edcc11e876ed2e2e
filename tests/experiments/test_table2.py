"""Table 2, run on a tiny scale: what is planned is done, and what is written can be read."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn
from typer.testing import CliRunner

from selena.attacks.flip_noise import FlipNoise
from selena.auditing.figure import figures_of
from selena.auditing.run import run_audit
from selena.cli import app
from selena.data.load import load
from selena.data.split import audit_split
from selena.defenses.memguard_noise import NoiseSearch
from selena.defenses.undefended import Undefended
from selena.errors import ConfigError
from selena.experiments.paper import budget, figure4, table2
from selena.experiments.paper.budget import Line, Speed, calibrate, total
from selena.experiments.paper.document import Document
from selena.experiments.paper.runs import run_items
from selena.experiments.paper.task import PAPER, QUICK, SCALES, Task
from selena.experiments.paper.work import Sizes, Work, audit_work
from selena.experiments.store import RunFolder
from selena.networks.mlp import MLP
from selena.reports.table import percent
from selena.training.group import Group
from selena.training.lane import Lane
from selena.training.model import NetworkModel
from selena.training.recipe import Recipe

DEFENSES = list(table2.DEFENSES)


@pytest.fixture
def short_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time so few records that the figures mean nothing: that there are some is tested."""
    for name in ("_BATCH", "_PREDICTED", "_SEARCHED"):
        monkeypatch.setattr(budget, name, 16)


@dataclass
class Trained:
    """What was really done: steps of each network trained to its end, and searches for noise.

    Of these it holds for how many records at once.
    """

    steps: dict[str, int] = field(default_factory=dict)
    searches: list[int] = field(default_factory=list)

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
    """Count every network that the engine finishes, the steps it took, and MemGuard's searches."""
    done = Trained()
    with pytest.MonkeyPatch.context() as patch:
        step, steps_of_part = Lane.step, Group._step
        finish, steps = Lane.finish, Counter[Lane]()
        search = NoiseSearch.run

        def counting_step(lane: Lane, rate: float) -> None:
            steps[lane] += 1
            step(lane, rate)

        def counting_part(
            group: Group, part: slice, moving: dict[Lane, Tensor], number: int
        ) -> None:
            steps.update(lane for lane in group._lanes[part] if lane in moving)
            steps_of_part(group, part, moving, number)

        def counting_finish(lane: Lane) -> None:
            done.steps[f"{lane.job.name}-{len(done.steps)}"] = steps[lane]
            finish(lane)

        def counting_search(
            self: NoiseSearch, network: nn.Module, logits: Tensor
        ) -> tuple[Tensor, Tensor]:
            done.searches.append(len(logits))
            return search(self, network, logits)

        patch.setattr(NoiseSearch, "run", counting_search)
        patch.setattr(Lane, "step", counting_step)
        patch.setattr(Group, "_step", counting_part)
        patch.setattr(Lane, "finish", counting_finish)
        yield done


@dataclass
class Finished:
    """One tiny Table 2 and everything about it."""

    runs: Path
    out: Path
    plan: list[Line]
    document: Document
    news: list[str]
    searches: list[int]

    @property
    def json(self) -> Any:
        return json.loads((self.out / "table2.json").read_text())


@pytest.fixture(scope="module")
def finished(tiny: Task, counted: Trained, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("table2")
    runs, out, news = folder / "runs", folder / "out", list[str]()
    plan = table2.plan(tiny, runs)
    document = table2.run(tiny, runs, command="selena test", tell=news.append)
    document.write(out, "selena test")
    return Finished(runs, out, plan, document, news, list(counted.searches))


def test_what_was_planned_was_trained(finished: Finished, counted: Trained) -> None:
    planned = total(finished.plan)
    assert len(counted.classifiers) == planned.networks == 9
    # The adversary of adversarial regularization has no lane of its own, and MemGuard's network
    # is planned once; here it finds no way across with any decay.
    assert counted.tries == 3
    networks = len(counted.steps) - len(counted.classifiers) - (counted.tries - 1)
    assert networks == planned.attack_networks - 1
    # Sub-models see about 1 - L/K of the records.
    assert sum(counted.classifiers.values()) == pytest.approx(planned.steps, rel=0.05)


def test_planned_predictions_are_those_made(finished: Finished) -> None:
    row = finished.json["rows"][0]
    asked = sum(attack["queries_per_record"] for attack in row["attacks"].values())
    n = row["n"]
    records = 2 * (n["known_members"] + n["evaluation_members"])
    accuracy = row["train_n"] + row["test_n"]
    # The audit remembers answers that several direct attacks ask for: fewer, never more.
    undefended, memguard, *_ = finished.plan
    assert 0.5 * asked * records < undefended.work.passes - accuracy <= asked * records
    # What labels tell of MemGuard is known by then; its inference network reads some predictions.
    labels, filtered = (r["attacks"]["gaussian_noise"] for r in finished.json["rows"][:2])
    assert filtered == labels
    saved = labels["queries_per_record"] * records
    own = memguard.work.passes - (undefended.work.passes - saved)
    assert 0 < own <= 2 * row["train_n"]


def test_planned_searches_are_those_made(finished: Finished, counted: Trained) -> None:
    planned = total(finished.plan).searches
    # One for each decay on the defender's own records, of which one is planned; then the audit's.
    first, *again = finished.searches[: counted.tries]
    assert set(again) == {first}
    # As above: answers that the audit remembers are not searched again.
    assert 0.5 * planned < sum(finished.searches) - sum(again) <= planned


def test_planned_flips_are_those_asked_about() -> None:
    split = audit_split(load("purchase100-synthetic", size=10_000), members=2_000, seed=0)
    n = 1_000
    sizes = Sizes(
        len(split.train), len(split.validation), len(split.evaluation.non_members), n, n, n
    )
    network = MLP(600, 100, hidden=(8,))
    attack = FlipNoise(flips=(1, 2, 3), copies=20)
    report = run_audit(NetworkModel(network(), 100), split, [attack], seed=0)
    pieces = audit_work(Undefended(network, 100, Recipe()), [attack], sizes)
    work = sum(pieces.values(), Work())
    assert work.flipped == report.attacks["flip_noise"].scores.queries
    assert work.searches == 0


def test_every_kind_of_work_has_a_price() -> None:
    speed = Speed(step=1, attack_record=10, prediction=100, flipped=1_000, search=10_000)
    work = Work(steps=1, attack_records=1, passes=1, flipped=1, searches=1)
    assert speed.seconds(work) == 11_111


@pytest.mark.usefixtures("short_calibration")
def test_flips_are_measured_where_records_are_bits(tiny: Task) -> None:
    assert calibrate(tiny).flipped == 0
    speed = calibrate(Task("purchase100-synthetic", replace(tiny.scale, size=1_000)))
    assert min(speed.flipped, speed.prediction, speed.search) > 0


def test_a_second_plan_finds_everything(finished: Finished, tiny: Task) -> None:
    again = table2.plan(tiny, finished.runs)
    assert total(again).networks == total(again).passes == 0
    assert [line.found for line in again] == ["model and attacks"] * 4


@pytest.mark.usefixtures("short_calibration")
def test_the_command_plans_finds_and_writes(
    finished: Finished,
    counted: Trained,
    tiny: Task,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(SCALES, "tiny", tiny.scale)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(budget, "_seconds_each", lambda run: (run(1), 1.0)[1])
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
def test_unknown_names_are_errors_with_the_mend(what: str, tmp_path: Path) -> None:
    runs = ["--runs", str(tmp_path)]
    done = CliRunner().invoke(app, ["reproduce", what, "--dataset", "digts", *runs])
    assert isinstance(done.exception, ConfigError)
    assert "Did you mean 'digits'" in str(done.exception)
    done = CliRunner().invoke(app, ["reproduce", what, "--scale", "pape", *runs])
    assert "Did you mean 'paper'" in str(done.exception)


def test_another_attack_setting_is_work_ahead(finished: Finished, tiny: Task) -> None:
    settings = {**tiny.scale.attack_settings, "neural": {"epochs": 3}}
    task = replace(tiny, scale=replace(tiny.scale, attack_settings=settings))
    assert [line.found for line in table2.plan(task, finished.runs)] == ["model"] * 4


def test_labels_found_behind_a_filter_are_no_work_ahead(
    finished: Finished, tiny: Task, tmp_path: Path
) -> None:
    runs = shutil.copytree(finished.runs, tmp_path / "runs")
    (filtered,) = runs.glob("*memguard*")
    unattacked = RunFolder(filtered).manifest()
    del unattacked["audited"]
    RunFolder(filtered)._write_manifest(unattacked)
    _, memguard, *_ = table2.plan(tiny, runs)
    assert memguard.found == "model"
    planned = finished.plan[1].work
    # The model is there, for which noise was searched once while it was made.
    assert memguard.work.searches == planned.searches - finished.searches[0] > 0
    assert 0 < memguard.work.passes <= planned.passes


def test_csv_has_our_lines_only_where_the_paper_has_none(finished: Finished) -> None:
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
    lines = table2.lines(data["rows"], "digits")
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


def test_seeds_become_deviations_and_the_paper_stands_beside(finished: Finished) -> None:
    rows = finished.json["rows"]
    rows = rows + [{**row, "seed": 1, "test_accuracy": row["test_accuracy"] / 2} for row in rows]
    lines = table2.lines(rows, "purchase100-synthetic")
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


def test_scales_of_the_synthetic_set() -> None:
    quick = Task("purchase100-synthetic", QUICK)
    assert quick.describe()["members"] == 2_500
    assert quick.describe()["records"] == 10_000
    small = Task("purchase100-synthetic", replace(PAPER, size=20_000))
    assert small.describe()["members"] == 2_000  # a tenth, as the paper has it
    settings = small.settings(["selena"])
    assert settings.data.partition == "paper"
    assert settings.plan == {}


def test_fewer_attacks_later_leave_the_audit_as_it_was(finished: Finished, tiny: Task) -> None:
    (item,) = figure4.items(tiny)  # SELENA of the same settings, four attacks only
    folder = item.case.folder(finished.runs, tiny.load())
    before = folder.audit()
    ((_, report),) = run_items([item], tiny, finished.runs)
    assert set(report.attacks) < set(before["attacks"])
    assert folder.audit() == before
