"""Subjects in an audit: one score each, whoever is asked about."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from selena.attacks.holdout import hold_out
from selena.attacks.reference_training import draw_halves, set_aside
from selena.attacks.signal_attack import ThresholdAttack
from selena.auditing.run import run_audit
from selena.auditing.scoring import balanced
from selena.data.canaries import plant_canaries
from selena.data.subjects import units
from selena.errors import DataError
from selena.registry import prediction_attacks
from selena.reports.comparison import compare
from selena.reports.markdown import render_markdown
from selena.reports.page.render import render_page
from selena.reports.runs import run_of_audit
from selena.types import (
    Access,
    Attack,
    AuditSplit,
    Family,
    MembershipSets,
    Needs,
    Oracle,
    Records,
    Scorer,
    concatenate,
)
from selena.workspace import Workspace
from tests.toys import CLASSES, Constant, subjects_of, toy_records

SIDES = [toy_records(60, seed=i, start=1000 * i) for i in range(4)]
VALIDATION = toy_records(6, seed=9, start=9000)


def persons(records: Records, each: int = 3) -> Records:
    """`each` records of a person, far apart in the data set; numbers of persons are its own."""
    count = len(records) // each
    return replace(records, subjects=int(records.ids[0]) + torch.arange(len(records)) % count)


def split(each: int = 3) -> AuditSplit:
    known_in, known_out, inside, outside = (persons(side, each) for side in SIDES)
    return AuditSplit(
        MembershipSets(known_in, known_out), MembershipSets(inside, outside), VALIDATION
    )


@dataclass(frozen=True)
class FirstFeature:
    """Scores a record by its first feature, or by infinity, and keeps what it was shown.

    Attributes:
        shown: receives the candidates told of, and each lot that is asked about.
        needs: whether it is told of candidates.
        endless: from which feature on a score is infinite.
    """

    shown: list[Records]
    needs: Needs = "predictions"
    endless: float = math.inf
    name: str = "first feature"
    family: Family = "direct"
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
        if known.candidates is not None:
            self.shown.append(known.candidates)
        return replace(self, calibration=known)  # type: ignore[return-value]

    def score(self, candidates: Records) -> Tensor:
        self.shown.append(candidates)
        first = candidates.x[:, 0].double()
        return torch.where(first.abs() > self.endless, first.sign() * math.inf, first)


def test_a_persons_score_is_the_mean_of_its_records() -> None:
    parts = split()
    report = run_audit(Constant(), parts, [FirstFeature([])], seed=0)
    scored = report.attacks["first feature"].scores.evaluation
    records, truth = parts.evaluation.joined()
    assert len(scored.scores) == 40
    for score, label, member, first in zip(
        scored.scores, scored.labels, scored.truth, scored.ids, strict=True
    ):
        row = int((records.ids == int(first)).nonzero())
        mine = records.subjects == subjects_of(records)[row]
        assert score == pytest.approx(float(records.x[mine, 0].double().mean()))
        assert int(records.ids[mine].min()) == first
        assert (label, member) == (int(records.y[row]), bool(truth[row]))
    assert report.to_json()["n"]["evaluation_records"] == 120
    assert report.attacks["first feature"].queries_per_record == 0


def test_infinite_scores_of_a_subject_average_finely() -> None:
    report = run_audit(Constant(), split(), [FirstFeature([], endless=0.5)], seed=0)
    scores = report.attacks["first feature"].scores.evaluation.scores
    assert bool(torch.isfinite(torch.from_numpy(scores)).all())
    assert scores.max() > 1e299


@pytest.mark.parametrize("alone", [True, False])
def test_subjects_of_one_change_no_byte(alone: bool) -> None:
    sides = [replace(side, subjects=torch.full((60,), -1) if alone else side.ids) for side in SIDES]
    grouped = AuditSplit(MembershipSets(*sides[:2]), MembershipSets(*sides[2:]), VALIDATION)
    plain = AuditSplit(MembershipSets(*SIDES[:2]), MembershipSets(*SIDES[2:]), VALIDATION)
    attacks: list[Attack] = [FirstFeature([]), ThresholdAttack("confidence")]
    one, other = (run_audit(Constant(), each, attacks, seed=0) for each in (grouped, plain))
    first, second = one.to_json(), other.to_json()
    for part in set(first) - {"inputs", "attacks"}:  # hashes, and what an attack was shown
        assert first[part] == second[part], part


@pytest.mark.parametrize("needs", ["predictions", "training"])
def test_attack_sees_subjects_but_not_membership(needs: Needs) -> None:
    shown: list[Records] = []
    parts = split()
    run_audit(Constant(), parts, [FirstFeature(shown, needs)], seed=0)
    records, truth = parts.evaluation.joined()
    if needs == "training":
        told = subjects_of(shown[0])
        known = subjects_of(parts.known.joined()[0])
        assert not set(told.tolist()) & set(known.tolist())
    for candidates in [shown[-1]] if needs == "predictions" else [shown[0], shown[-1]]:
        order, mine = torch.cdist(candidates.x, records.x).argmin(dim=1), subjects_of(candidates)
        pairs = torch.stack([mine, subjects_of(records)[order]]).unique(dim=1)
        assert pairs.shape[1] == len(mine.unique()) == 40
        low = mine < mine.median()
        assert 0.25 < float(truth[order][low].double().mean()) < 0.75


def test_attacks_get_equally_many_subjects_per_side() -> None:
    few = persons(SIDES[1].take(torch.arange(20)), each=2)
    known = balanced(MembershipSets(persons(SIDES[0]), few), seed=0)
    assert (
        len(subjects_of(known.members).unique())
        == len(subjects_of(known.non_members).unique())
        == 10
    )
    assert len(known.members) == 30
    assert known.extra_members is not None
    assert len(known.extra_members) == 30


def test_what_attacks_set_aside_are_whole_persons() -> None:
    known = split().known
    for one, other in (
        tuple(each.joined()[0] for each in hold_out(known, 0.3, seed=0)),
        (set_aside(known, seed=0)[0], set_aside(known, seed=0)[1].non_members),
    ):
        assert not set(subjects_of(one).tolist()) & set(subjects_of(other).tolist())
        assert all(count == 3 for count in subjects_of(one).unique(return_counts=True)[1].tolist())
    pool = concatenate(known.members, known.non_members)
    inside = draw_halves(pool, 4, seed=0)
    for person in subjects_of(pool).unique().tolist():
        assert len(inside[:, subjects_of(pool) == person].unique(dim=1).T) == 1
    assert inside.sum(dim=1).tolist() == [60] * 4


def test_a_person_on_two_sides_is_refused() -> None:
    parts = split()
    inside = parts.known.members
    both = replace(inside, subjects=subjects_of(inside) + 3000)
    with pytest.raises(
        DataError, match=r"Subject 30\d\d has records among the known members and the"
    ):
        run_audit(
            Constant(),
            replace(parts, known=replace(parts.known, members=both)),
            [ThresholdAttack("confidence")],
            seed=0,
        )


@pytest.mark.parametrize("kind", ["mislabelled", "grouped-twins"])
def test_a_canary_is_the_only_record_of_its_person(kind: str) -> None:
    wide = replace(split(), evaluation=MembershipSets(persons(SIDES[2]), persons(SIDES[3], each=2)))
    planted = plant_canaries(wide, 20, kind, num_classes=CLASSES, seed=0)  # type: ignore[arg-type]
    assert planted.canaries is not None
    assert len(planted.evaluation.non_members) == 20
    canaries, _ = planted.canaries.joined()
    original = wide.evaluation.non_members
    rows = torch.tensor([int((original.ids == number).nonzero()) for number in canaries.ids])
    gone = set(subjects_of(original)[rows].tolist())
    assert len(gone) == 20
    assert not gone & set(subjects_of(planted.evaluation.non_members).tolist())
    run_audit(Constant(), planted, [ThresholdAttack("confidence")], seed=0)


def test_units_count_by_first_appearance() -> None:
    records = replace(toy_records(6), subjects=torch.tensor([7, -1, 2, -1, 7, 2]))
    assert units(records).tolist() == [0, 1, 2, 3, 0, 2]
    assert units(toy_records(3)).tolist() == [0, 1, 2]


def test_reports_say_that_a_subject_counts_as_one() -> None:
    attacks = [ThresholdAttack("confidence")]
    grouped = run_audit(Constant(), split(), attacks, seed=0)
    single = AuditSplit(MembershipSets(*SIDES[:2]), MembershipSets(*SIDES[2:]), VALIDATION)
    plain = run_audit(Constant(), single, attacks, seed=0)
    for report, said in ((grouped, True), (plain, False)):
        comparison = compare({"toy": report})
        page = render_page([run_of_audit(report, name="toy", dataset="d", seed=0)], title="t")
        markdown = render_markdown(comparison.rows, title="t", command="c")
        for text in (str(report), str(comparison), page):
            assert ("Records of one subject count as one" in text) == said
        assert ("each by the mean score of its own" in markdown) == said
        assert ("Scored records, of whom subjects have their mean score" in page) == said


def ragged(records: Records) -> Records:
    """Persons of one to four records."""
    sizes = [1 + i % 4 for i in range(len(records))]
    first = int(records.ids[0])
    names = [first + i for i, size in enumerate(sizes) for _ in range(size)]
    return replace(records, subjects=torch.tensor(names[: len(records)]))


@pytest.mark.usefixtures("in_short")
def test_attacks_take_subjects_of_unequal_size() -> None:
    parts = [ragged(side) for side in SIDES]
    uneven = AuditSplit(MembershipSets(*parts[:2]), MembershipSets(*parts[2:]), VALIDATION)
    report = run_audit(Constant(), uneven, prediction_attacks(), seed=0)
    assert "neural" in report.attacks


def test_subjects_of_one_side_alone_are_refused() -> None:
    known, evaluation = split().known, MembershipSets(persons(SIDES[2]), SIDES[3])
    with pytest.raises(DataError, match="have subjects and others have none"):
        run_audit(
            Constant(),
            AuditSplit(known, evaluation, VALIDATION),
            [ThresholdAttack("confidence")],
            seed=0,
        )


def test_candidates_have_subject_numbers_of_their_own() -> None:
    """Nor with members that are left over: reference models train on those, too."""
    shown: list[Records] = []
    many = persons(toy_records(300, seed=5, start=50_000))
    wide = replace(split(), known=MembershipSets(many, persons(SIDES[1])))
    run_audit(Constant(), wide, [FirstFeature(shown, "training")], seed=0)
    assert not set(subjects_of(shown[0]).tolist()) & set(subjects_of(many).tolist())
    assert int(subjects_of(shown[0]).min()) > int(subjects_of(many).max())
