"""Canaries in an audit: scored apart, by attacks that are told nothing about them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from selena.attacks.signal_attack import ThresholdAttack
from selena.auditing.report import AuditReport
from selena.auditing.run import run_audit
from selena.data.canaries import CanaryKind, plant_canaries
from selena.defenses.output_filters import TopKModel
from selena.defenses.undefended import Undefended
from selena.errors import DataError
from selena.reports.comparison import compare
from selena.reports.markdown import render_markdown
from selena.reports.page.render import render_page
from selena.reports.runs import run_of_audit
from selena.reports.table import canary_cells, summarize_rows
from selena.reports.terminal import results_text
from selena.tracking.mlflow import metrics
from selena.types import (
    Access,
    AuditSplit,
    Family,
    MembershipSets,
    Needs,
    Oracle,
    Records,
    Scorer,
    TargetModel,
    concatenate,
)
from selena.workspace import Workspace
from tests.toys import CLASSES, NETWORK, RECIPE, toy_records

CONFIDENCE = ThresholdAttack("confidence")
COUNT = 100


def bare() -> AuditSplit:
    parts = [
        toy_records(n, seed=i, start=1000 * i) for i, n in enumerate((60, 60, 60, 60 + COUNT, 20))
    ]
    return AuditSplit(
        MembershipSets(parts[0], parts[1]), MembershipSets(parts[2], parts[3]), parts[4]
    )


def split(seed: int = 0, kind: CanaryKind = "mislabelled") -> AuditSplit:
    return plant_canaries(bare(), COUNT, kind, num_classes=CLASSES, seed=seed)


@dataclass(frozen=True, eq=False)
class Leak:
    """Is sure of the labels that it was given with some records, and of nothing else."""

    learned: Records
    num_classes: int = CLASSES

    def logits(self, x: Tensor) -> Tensor:
        exact = "donot_use_mm_for_euclid_dist"
        gaps, nearest = torch.cdist(x, self.learned.x, compute_mode=exact).min(dim=1)
        sure = torch.where(gaps < 1e-3, 30.0, 0.0)
        return torch.zeros(len(x), CLASSES).scatter(
            1, self.learned.y[nearest][:, None], sure[:, None]
        )


def audit(target: TargetModel, of: AuditSplit, kept: Workspace | None = None) -> AuditReport:
    return run_audit(target, of, [CONFIDENCE], seed=1, kept_scores=kept)


def test_leak_of_canaries_is_found_there_alone() -> None:
    planted = split()
    assert planted.canaries is not None
    result = audit(Leak(planted.canaries.members), planted).attacks["confidence"]
    assert result.canaries is not None
    assert result.canaries.summary.auc == 1
    assert result.canaries.summary.members == len(planted.canaries.members)
    assert result.canaries.bound.epsilon > 2
    assert result.variants["global"].summary.auc == 0.5


def test_leak_of_others_says_nothing_about_canaries() -> None:
    planted = split()
    ordinary = concatenate(planted.known.members, planted.evaluation.members)
    result = audit(Leak(ordinary), planted).attacks["confidence"]
    assert result.canaries is not None
    assert result.canaries.summary.auc == 0.5
    assert result.canaries.bound.epsilon == 0
    assert result.variants["global"].summary.advantage == 1


def test_without_canaries_nothing_is_said_of_them() -> None:
    report = audit(Leak(bare().train), bare())
    assert report.attacks["confidence"].canaries is None
    assert "canaries" not in report.to_json()["attacks"]["confidence"]
    comparison = compare({"bare": report})
    assert canary_cells(comparison.rows) == []
    assert "anaries" not in str(comparison)
    assert "anaries" not in str(report)


def test_training_accuracy_is_that_of_ordinary_records() -> None:
    planted = split()
    ordinary = concatenate(planted.known.members, planted.evaluation.members)
    report = audit(Leak(ordinary), planted)
    assert (report.train_accuracy.value, report.train_accuracy.n) == (1.0, len(ordinary))


def test_queries_are_divided_by_all_scored_records() -> None:
    result = audit(Leak(bare().train), split()).attacks["confidence"]
    assert result.queries_per_record == 1


def test_scores_of_canaries_are_kept_apart(tmp_path: Path) -> None:
    planted = split()
    model = Undefended(NETWORK, CLASSES, RECIPE).fit(planted.train, planted.validation, seed=0)
    kept = Workspace(folder=tmp_path)
    first, second = (audit(model, planted, kept) for _ in range(2))
    assert first.to_json() == second.to_json()
    one, other = (report.attacks["confidence"].scores for report in (first, second))
    assert one.seconds == other.seconds  # found, not computed
    assert one.canaries is not None
    assert other.canaries is not None
    assert np.array_equal(one.canaries.scores, other.canaries.scores)
    without = audit(model, replace(planted, canaries=None), kept)
    assert without.attacks["confidence"].canaries is None
    elsewhere = audit(model, split(seed=5), kept).attacks["confidence"].scores.canaries
    assert elsewhere is not None
    assert not np.array_equal(elsewhere.ids, one.canaries.ids)


@dataclass(frozen=True)
class Witness:
    """Keeps what an attack is shown, and knows nothing.

    Attributes:
        seen: receives the candidates told of, and each lot asked about.
        needs: whether it is told of candidates.
    """

    seen: list[Records]
    needs: Needs = "training"
    family: Family = "reference-model"
    name: str = "witness"
    access: Access = "label"
    calibration: MembershipSets | None = None

    def fit(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int,
        workspace: Workspace | None = None,
    ) -> Scorer:
        assert known.candidates is not None
        self.seen.append(known.candidates)
        return replace(self, calibration=known)  # type: ignore[return-value]

    def score(self, candidates: Records) -> Tensor:
        self.seen.append(candidates)
        return torch.zeros(len(candidates), dtype=torch.float64)


def test_attack_sees_canaries_but_not_membership() -> None:
    planted = split()
    assert planted.canaries is not None
    seen: list[Records] = []
    run_audit(Leak(bare().train), planted, [Witness(seen)], seed=0)
    told, *_, asked = seen
    assert len(told) == 120 + COUNT
    assert sorted(told.ids.tolist()) == list(range(120 + COUNT))
    canaries, truth = planted.canaries.joined()
    assert len(asked) == COUNT
    order = torch.cdist(asked.x, canaries.x).argmin(dim=1)
    assert torch.equal(asked.y, canaries.y[order])
    # Neither numbers nor places tell: members are anywhere.
    assert torch.equal(asked.ids, torch.arange(COUNT))
    assert 0.3 < float(truth[order][: COUNT // 2].double().mean()) < 0.7


def test_attack_sees_no_subject_names_of_candidates() -> None:
    """Of canaries only those inside have a twin: a subject would be the answer."""
    planted = split(kind="grouped-twins")
    assert planted.train.subjects is not None
    seen: list[Records] = []
    run_audit(Leak(bare().train), planted, [Witness(seen)], seed=0)
    told, *asked = seen
    assert told.subjects is None
    assert [records.subjects is None for records in asked] == [True] * len(asked)


def test_canaries_equal_to_records_are_refused() -> None:
    planted = split()
    assert planted.canaries is not None
    both = replace(planted.canaries, members=planted.known.members)
    with pytest.raises(DataError, match="share records"):
        audit(Leak(bare().train), replace(planted, canaries=both))


def test_reports_show_them_in_every_form() -> None:
    planted = split()
    assert planted.canaries is not None
    report = audit(Leak(planted.canaries.members), planted)
    comparison = compare({"leaky": report})
    (line,) = canary_cells(comparison.rows)
    bound = report.attacks["confidence"].canaries
    assert bound is not None
    assert [cell.text for cell in line[:3]] == ["leaky", "direct: confidence", "100.0"]
    assert line[-1].text == f"{bound.bound.epsilon:.2f}"
    markdown = render_markdown(comparison.rows, title="t", command="c")
    for text in (results_text(comparison.rows), markdown):
        assert "100 canaries got a wrong label" in text
        assert "copy" not in text
    said = f"Epsilon, by 100 canaries: at least {bound.bound.epsilon:.2f} by confidence (direct)."
    assert said in str(report).splitlines()
    page = render_page(
        [run_of_audit(report, name="leaky", dataset="d", seed=0, synthetic=False)], title="t"
    )
    assert '<h2 id="canaries">' in page
    assert "Canaries show how exposed" in page
    assert "wrong label, it finds 100.0" in page
    # Though of ordinary records nothing leaks: what canaries prove is a leak.
    assert report.verdict.figure == "epsilon"
    assert f'<article class="card level-{report.verdict.level}">' in page


def test_of_twins_it_is_said_that_the_bound_is_of_both() -> None:
    planted = split(kind="twins")
    assert planted.canaries is not None
    report = audit(Leak(planted.canaries.members), planted)
    found = report.to_json()["attacks"]["confidence"]["canaries"]
    assert found["copies"] == found["members"]
    assert "of a record and its copy together" in str(report)
    text = str(compare({"leaky": report}))
    assert "a near copy of it" in text
    assert "of a record and its copy together" in " ".join(text.split())


def test_report_says_the_defense_knows_grouped_twins() -> None:
    told = audit(Leak(bare().train), split(kind="grouped-twins"))
    untold = audit(Leak(bare().train), split(kind="twins"))
    found = told.to_json()["attacks"]["confidence"]["canaries"]
    assert found["copies_grouped"]
    assert found["copies"] == found["members"]
    assert "a near copy of it (of which the defense is told)" in str(compare({"toy": told}))
    assert "is told" not in str(compare({"toy": untold}))


def test_several_seeds_show_mean_and_deviation() -> None:
    reports = {}
    for seed in (0, 1):
        planted = split(seed)
        assert planted.canaries is not None
        reports[seed] = audit(Leak(planted.canaries.members), planted)
    (line,) = canary_cells(compare({"leaky": reports}).rows)
    assert line[0].spread == "2 seeds"
    assert line[2].spread == "± 0.0"
    assert line[-1].spread.startswith("± ")
    comparison = compare({"leaky": reports})
    assert "the mean of such bounds" in str(comparison)
    (entry,) = summarize_rows(comparison.rows)
    found = [report.to_json()["attacks"]["confidence"]["canaries"] for report in reports.values()]
    bounds = [each["epsilon_lower_bound"]["epsilon"] for each in found]
    assert entry["canaries"]["direct"]["auc"] == {"mean": 1.0, "standard_deviation": 0.0, "n": 2}
    assert entry["canaries"]["direct"]["epsilon"]["mean"] == pytest.approx(np.mean(bounds))
    assert entry["canaries"]["direct"]["tpr@fpr=0.01"]["mean"] == 1.0


def test_a_tracker_gets_figures_of_canaries() -> None:
    planted = split()
    assert planted.canaries is not None
    (run,) = compare({"leaky": audit(Leak(planted.canaries.members), planted)}).runs
    found, canaries = metrics(run), run.row["attacks"]["confidence"]["canaries"]
    bound = canaries["epsilon_lower_bound"]["epsilon"]
    assert found["direct/epsilon"] == found["attack/epsilon"] == bound > 2
    (plain,) = compare({"bare": audit(Leak(bare().train), bare())}).runs
    assert not any("epsilon" in name for name in metrics(plain))


@dataclass(frozen=True, eq=False)
class Private(Leak):
    """Says what was proven about it."""

    epsilon: float = 8.0
    delta: float = 1e-3

    def state(self) -> dict[str, Tensor]:
        return {"x": self.learned.x}


def test_bound_takes_the_delta_that_is_stated() -> None:
    planted = split()
    assert planted.canaries is not None
    private = Private(planted.canaries.members)
    for target, delta in (
        (Leak(planted.canaries.members), 1e-5),
        (private, 1e-3),
        (TopKModel(private, 1), 1e-3),
    ):
        report = audit(target, planted)
        on_canaries = report.attacks["confidence"].canaries
        assert on_canaries is not None
        assert on_canaries.bound.delta == delta
        text = str(compare({"one": report}))
        assert f"delta = {'1e-3' if delta == 1e-3 else '1e-5'}" in text
