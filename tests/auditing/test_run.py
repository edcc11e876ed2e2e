"""The audit: planted leaks are found, constants are not, and nothing but the seed matters."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from selena.attacks.neural import NeuralAttack
from selena.attacks.signal_attack import ThresholdAttack
from selena.auditing.oracle import MeteredOracle
from selena.auditing.report import AuditReport
from selena.auditing.results import score_histogram
from selena.auditing.run import run_audit
from selena.defenses.hamp import HAMPModel
from selena.defenses.undefended import Undefended
from selena.errors import AccessError, ConfigError, DataError
from selena.reports.table import FEW, percent
from selena.training.model import MemoizedTarget
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
    TargetModel,
)
from selena.workspace import Workspace
from tests.toys import CLASSES, NETWORK, RECIPE, Constant, toy_records

ATTACKS = [
    ThresholdAttack("correctness"),
    ThresholdAttack("confidence"),
    ThresholdAttack("entropy"),
    ThresholdAttack("modified_entropy"),
]
RECORDS = toy_records(200)


def split(records: Records = RECORDS) -> AuditSplit:
    def part(start: int, stop: int) -> Records:
        return records.take(torch.arange(start, stop))

    return AuditSplit(
        MembershipSets(part(0, 40), part(40, 90)),
        MembershipSets(part(90, 130), part(130, 190)),
        part(190, 200),
    )


@dataclass(frozen=True, eq=False)
class Planted:
    """Answers members with certainty, others wrongly and without."""

    members: Tensor
    labels: dict[bytes, int]
    sign: float = 1.0
    num_classes: int = CLASSES

    def logits(self, x: Tensor) -> Tensor:
        rows = []
        for row in x:
            label = self.labels[row.numpy().tobytes()]
            member = bool((self.members == row).all(dim=1).any())
            logits = torch.zeros(CLASSES)
            if member == (self.sign > 0):
                logits[label] = 30.0
            else:
                logits[(label + 1) % CLASSES] = 0.5
            rows.append(logits)
        return torch.stack(rows)


def planted(sign: float = 1.0) -> Planted:
    labels = {x.numpy().tobytes(): int(y) for x, y in zip(RECORDS.x, RECORDS.y, strict=True)}
    return Planted(split().train.x, labels, sign)


def test_a_planted_leak_gives_advantage_one() -> None:
    report = run_audit(planted(), split(), ATTACKS, seed=0)
    for result in report.attacks.values():
        for variant in result.variants.values():
            assert variant.summary.advantage == 1.0
            assert variant.summary.auc == 1.0
    assert report.best("direct").figures.summary.balanced_accuracy == 1.0
    assert report.train_accuracy.value == 1.0
    assert report.test_accuracy.value == 0.0


def test_a_flipped_sign_fails() -> None:
    report = run_audit(planted(sign=-1.0), split(), ATTACKS, seed=0)
    for result in report.attacks.values():
        assert result.variants["global"].summary.auc == 0.0


def test_same_seed_same_bytes_and_query_count() -> None:
    def bytes_of(seed: int) -> str:
        return json.dumps(run_audit(planted(), split(), ATTACKS, seed=seed).to_json())

    assert bytes_of(1) == bytes_of(1)
    report = run_audit(planted(), split(), ATTACKS, seed=1)
    # 40 + 40 known records score once for thresholds, 40 + 40 once for the result.
    assert report.counts() == {
        "known_members": 40,
        "known_non_members": 40,
        "evaluation_members": 40,
        "evaluation_non_members": 40,
    }
    assert {r.queries_per_record for r in report.attacks.values()} == {1.0}


def test_who_came_first_tells_nothing() -> None:
    """Ids are row numbers, members' lower ones here; attacks are not shown those they score."""
    assert int(split().evaluation.members.ids.max()) < int(split().evaluation.non_members.ids.min())
    report = run_audit(Constant(), split(), [Halved("by number")], seed=0)
    assert abs(report.attacks["by number"].variants["global"].summary.auc - 0.5) < 0.25


@dataclass(frozen=True, eq=False)
class Trembling:
    """Answers members at random, others always alike."""

    members: Tensor
    num_classes: int = CLASSES

    def logits(self, x: Tensor) -> Tensor:
        member = (x[:, None] == self.members).all(dim=2).any(dim=1)
        return member[:, None] * torch.rand(len(x), CLASSES) + torch.arange(CLASSES) / 10


@dataclass(frozen=True)
class Own:
    """An attack whose fitting is a function of its oracle and of what is known."""

    fitting: Callable[[Oracle, MembershipSets], Scorer]
    name: str = "own"
    family: Family = "direct"
    access: Access = "logits"
    needs: Needs = "predictions"

    def fit(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int,
        workspace: Workspace | None = None,
    ) -> Scorer:
        return self.fitting(oracle, known)


@dataclass(frozen=True, eq=False)
class AskedTwice:
    """Compares two answers to one question."""

    oracle: Oracle
    calibration: MembershipSets

    def score(self, candidates: Records) -> Tensor:
        first, second = (self.oracle.logits(candidates.x) for _ in range(2))
        return (first - second).abs().sum(dim=1).double()


def test_answers_at_random_are_not_remembered() -> None:
    parts = split()
    report = run_audit(Trembling(parts.train.x), parts, [Own(AskedTwice)], seed=0)
    assert report.attacks["own"].variants["global"].summary.auc == 1.0
    assert report.attacks["own"].queries_per_record == 2.0


@dataclass(frozen=True, eq=False)
class ByOrder:
    """Scores candidates by where they stand: worth nothing, as they are shuffled."""

    calibration: MembershipSets

    def score(self, candidates: Records) -> Tensor:
        return torch.arange(len(candidates), 0, -1).double()


@dataclass(frozen=True, eq=False)
class NanScorer(ByOrder):
    def score(self, candidates: Records) -> Tensor:
        return torch.full((len(candidates),), float("nan"))


def by_order(_oracle: Oracle, known: MembershipSets) -> Scorer:
    """Fit an attack that would win if members came first."""
    return ByOrder(known)


def broken(_oracle: Oracle, known: MembershipSets) -> Scorer:
    return NanScorer(known)


def peeking(oracle: Oracle, known: MembershipSets) -> Scorer:
    """Ask for logits, whatever was declared."""
    oracle.logits(known.members.x)
    raise AssertionError


def test_candidates_come_shuffled() -> None:
    (result,) = run_audit(planted(), split(), [Own(by_order)], seed=0).attacks.values()
    assert abs(result.variants["global"].summary.auc - 0.5) < 0.2


def test_asking_for_more_than_declared_raises() -> None:
    with pytest.raises(AccessError, match="label"):
        run_audit(planted(), split(), [Own(peeking, access="label")], seed=0)
    oracle = MeteredOracle(Constant(), "gradient")
    with pytest.raises(AccessError, match="gradients"):
        oracle.differentiable_logits(RECORDS.x)


def test_scores_that_are_no_numbers_name_the_attack() -> None:
    with pytest.raises(DataError, match="The attack own returned"):
        run_audit(planted(), split(), [Own(broken)], seed=0)


def test_sets_that_share_records_are_refused() -> None:
    good = split()
    bad = replace(good, evaluation=replace(good.evaluation, members=good.known.members))
    with pytest.raises(DataError, match="disjoint"):
        run_audit(planted(), bad, ATTACKS, seed=0)


def test_two_attacks_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="differ"):
        run_audit(planted(), split(), [ATTACKS[0], ATTACKS[0]], seed=0)


class NoDataclass:
    name, family, access, needs = "plain", "direct", "label", "predictions"

    def fit(
        self, oracle: Oracle, known: MembershipSets, *, seed: int, workspace: object = None
    ) -> Any:
        raise AssertionError("never reached")


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (Own(peeking, family=cast(Any, "label only")), "family .* own 'label only'.*'label-only'"),
        (Own(peeking, access=cast(Any, "logit")), "access .* own 'logit'.*'logits'"),
        (NoDataclass(), "Make NoDataclass a frozen one"),
    ],
)
def test_attacks_that_cannot_be_reported_are_refused(attack: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_audit(planted(), split(), [attack], seed=0)


def test_a_family_that_was_not_run_has_no_best() -> None:
    report = run_audit(planted(), split(), ATTACKS[:1], seed=0)
    with pytest.raises(ConfigError, match=r"'adaptive'.*direct"):
        report.best("adaptive")


def test_a_report_prints_as_its_figures() -> None:
    lines = str(run_audit(planted(), split(), ATTACKS, seed=0)).splitlines()
    assert lines[0].split()[:2] == ["Attack", "Threshold"]
    assert [line.split()[0] for line in lines[1:9:2]] == [
        "correctness",
        "confidence",
        "entropy",
        "modified",
    ]
    assert lines[9].startswith("Leak: severe. The attack ")
    assert "100.0 (95.5–100.0) of its training records" in lines[10]


def test_a_printed_tpr_has_its_interval_and_mark() -> None:
    """40 non-members allow no false positive at 1 %: wide, marked, and not withheld."""
    report = run_audit(planted(), split(), ATTACKS, seed=0)
    low, high = report.tpr(0.01).interval
    assert 0 <= low < 1 == high
    shown = f"100.0 ({percent(low)}–100.0) {FEW}"
    lines = str(report).splitlines()
    assert [line.endswith(shown) for line in lines[1:9]] == [True] * 8
    assert any(
        line.startswith(f"TPR at 1 % FPR: {shown} by ") and line.endswith("; guessing gives 1.")
        for line in lines
    )
    assert "1,000 non-members would resolve this rate" in lines[-1]


def test_scores_change_with_the_subjects(tmp_path: Path) -> None:
    """An attacker's own Split-AI trains by subjects."""
    kept, parts = Workspace(folder=tmp_path), split()
    model = Undefended(NETWORK, CLASSES, RECIPE).fit(parts.train, parts.validation, seed=1)
    alone = split(replace(RECORDS, subjects=torch.full((200,), -1)))
    for subjects in (torch.arange(40) // 2, torch.arange(40) % 20):  # as many, of the same records
        members = replace(alone.known.members, subjects=subjects)
        known = replace(alone.known, members=members)
        run_audit(model, replace(alone, known=known), ATTACKS, seed=0, kept_scores=kept)
    assert len(list(tmp_path.iterdir())) == 2 * len(ATTACKS)


def test_only_own_finished_scores_are_used(tmp_path: Path) -> None:
    kept = Workspace(folder=tmp_path)
    parts = split()
    models = [
        Undefended(NETWORK, CLASSES, RECIPE).fit(parts.train, parts.validation, seed=seed)
        for seed in (1, 2)
    ]
    fresh = run_audit(models[0], parts, ATTACKS, seed=0, kept_scores=kept)
    assert len(list(tmp_path.iterdir())) == len(ATTACKS)
    again = run_audit(models[0], parts, ATTACKS, seed=0, kept_scores=kept)
    assert fresh.to_json() == again.to_json()
    assert fresh.timings() == again.timings()  # found, not measured anew
    run_audit(models[1], parts, ATTACKS, seed=0, kept_scores=kept)
    assert len(list(tmp_path.iterdir())) == 2 * len(ATTACKS)


def test_label_scores_are_shared_with_filters(tmp_path: Path) -> None:
    artifacts, parts = Workspace(folder=tmp_path / "artifacts"), split()
    model = Undefended(NETWORK, CLASSES, RECIPE).fit(parts.train, parts.validation, seed=1)
    decoys = torch.rand(5, CLASSES).log_softmax(dim=1).sort(dim=1).values
    filtered = HAMPModel(model, decoys, key=1)

    def audit(name: str, target: TargetModel) -> AuditReport:
        kept = Workspace(folder=tmp_path / name)
        return run_audit(target, parts, ATTACKS, seed=0, workspace=artifacts, kept_scores=kept)

    audit("bare", model)
    artifacts.clear()  # as when a run has ended; what the bare model kept is shared once more
    reports = {"bare": audit("bare", model), "filtered": audit("filtered", filtered)}
    # Of four attacks one reads labels alone; its very scores and times were taken over.
    assert {path.stem for path in (tmp_path / "artifacts").iterdir()} == artifacts.touched
    assert [name.split("-")[0] for name in artifacts.touched] == ["correctness"]
    for name in artifacts.touched:
        assert all((tmp_path / r / f"{name}.safetensors").exists() for r in reports)
    times = [report.timings()["correctness"] for report in reports.values()]
    assert times[0] == times[1]
    alone = run_audit(filtered, parts, ATTACKS, seed=0)
    assert alone.to_json() == reports["filtered"].to_json()


@dataclass(frozen=True, eq=False)
class Half:
    """A fitting of another type than that of attack networks; it notes who trains with whom."""

    known: MembershipSets
    log: list[int]

    def train(self, others: Sequence[Half], workspace: Workspace) -> list[IndexScorer]:
        self.log.append(1 + len(others))
        return [IndexScorer(half.known) for half in [self, *others]]


@dataclass(frozen=True, eq=False)
class IndexScorer:
    calibration: MembershipSets

    def score(self, candidates: Records) -> Tensor:
        return -candidates.ids.double()


@dataclass(frozen=True)
class Halved:
    """An attack that trains."""

    name: str
    family: Family = "direct"
    access: Access = "logits"
    needs: Needs = "predictions"

    def prepare(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int,
        workspace: Workspace | None = None,
    ) -> Half:
        oracle.logits(known.members.x)
        return Half(known, TOGETHER)

    def fit(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int,
        workspace: Workspace | None = None,
    ) -> IndexScorer:
        raise AssertionError("an audit prepares it")


TOGETHER: list[int] = []


def test_attacks_trained_together_do_not_interfere(tmp_path: Path) -> None:
    TOGETHER.clear()
    parts, kept = split(), Workspace(folder=tmp_path)
    target = Undefended(NETWORK, CLASSES, RECIPE).fit(parts.train, parts.validation, seed=1)
    neural = NeuralAttack(epochs=2, batch_size=16)
    attacks: list[Attack] = [Halved("first"), neural, *ATTACKS[:2], Halved("second")]
    report = run_audit(target, parts, attacks, seed=0, kept_scores=kept)
    assert list(report.attacks) == [attack.name for attack in attacks]
    assert TOGETHER == [2]
    assert report.attacks["first"].scores.queries == 40
    # Asked about each record once, those that the network was trained on included.
    assert report.attacks[neural.name].queries_per_record == 1.0
    for attack in (neural, ATTACKS[0]):
        alone = run_audit(target, parts, [attack], seed=0).attacks[attack.name]
        assert alone.scores.queries == report.attacks[attack.name].scores.queries
        np.testing.assert_array_equal(
            alone.scores.evaluation.scores, report.attacks[attack.name].scores.evaluation.scores
        )
    # What is kept is neither prepared nor trained again.
    attacks.append(Halved("third"))
    run_audit(target, parts, attacks, seed=0, kept_scores=kept)
    assert TOGETHER == [2, 1]


def test_memo_answers_once_and_oracle_counts_twice() -> None:
    asked = []

    class Counting(Constant):
        def logits(self, x: Tensor) -> Tensor:
            asked.append(len(x))
            return super().logits(x)

    oracle = MeteredOracle(Counting(), "logits")
    oracle.logits(RECORDS.x).zero_()
    oracle.labels(RECORDS.x)
    assert (asked, oracle.queries) == ([200], 400)


def test_filter_labels_come_from_the_model_behind() -> None:
    class Filter(Constant):
        """Its logits are costly."""

        def __init__(self, labels_of: TargetModel) -> None:
            self.labels_of = labels_of

        def logits(self, x: Tensor) -> Tensor:
            raise AssertionError

    class Behind(Constant):
        def logits(self, x: Tensor) -> Tensor:
            return torch.eye(CLASSES)[2].expand(len(x), CLASSES)

    oracle = MeteredOracle(Filter(Filter(Behind())), "label")
    assert oracle.labels(RECORDS.x).tolist() == [2] * 200
    assert oracle.queries == 200


def test_memo_forgets_the_oldest() -> None:
    memo = MemoizedTarget(Constant(), keep=1)
    for n in (1, 2, 1):
        assert memo.logits(RECORDS.x[:n]).shape == (n, CLASSES)


def test_answers_of_a_table_are_not_remembered() -> None:
    asked = []

    class Table(Constant):
        is_table = True

        def logits(self, x: Tensor) -> Tensor:
            asked.append(len(x))
            return super().logits(x)

    memo = MemoizedTarget(Table())
    for _ in range(2):
        memo.logits(RECORDS.x)
    assert asked == [200, 200]


def test_the_best_attack_is_chosen_on_known_records() -> None:
    report = run_audit(planted(), split(), ATTACKS, seed=0)
    strong, weak = report.attacks["confidence"], report.attacks["entropy"]
    lucky = {
        name: replace(v, known_accuracy=0.5, summary=replace(v.summary, tpr=1.0))
        for name, v in weak.variants.items()
    }
    modest = {
        name: replace(v, known_accuracy=0.9, summary=replace(v.summary, tpr=0.6, fpr=0.4))
        for name, v in strong.variants.items()
    }
    report = replace(
        report,
        attacks={
            "entropy": replace(weak, variants=lucky),
            "confidence": replace(strong, variants=modest),
        },
    )
    assert report.best("direct").result.name == "confidence"
    assert report.strongest_on_evaluation("direct")[0].startswith("entropy/")


def test_crowded_scores_get_a_logarithmic_axis() -> None:
    draw = np.random.default_rng(0)
    truth = np.arange(2000) % 2 == 0
    even, crowded = draw.normal(size=2000) + truth, -np.exp(draw.normal(-6, 3, 2000) - truth)
    crowded[0] = -np.inf
    for scores, axis in ((even, "score"), (crowded, "-log10(highest - score)")):
        shown = score_histogram(scores, truth)
        assert shown["axis"] == axis
        assert max(shown["members"]) < 0.5
        assert sum(shown["members"]) == pytest.approx(1)
        middle = (np.array(shown["edges"][1:]) + shown["edges"][:-1]) / 2
        assert np.dot(middle, shown["members"]) > np.dot(middle, shown["non_members"])


@pytest.mark.parametrize("ones", [0.1, 0.8, 1.0])
def test_two_values_stay_two_values(ones: float) -> None:
    """Correctness, mostly 1: on a logarithmic axis both values fell into one bin."""
    truth = np.arange(2000) % 2 == 0
    scores = (np.arange(2000) < ones * 2000).astype(np.float64)
    shown = score_histogram(scores, truth)
    assert shown["axis"] == "score"
    assert np.count_nonzero(shown["members"]) == len(np.unique(scores))
    assert shown["members"][-1 if ones < 1 else np.argmax(shown["members"])] == pytest.approx(ones)


def test_histograms_and_curves_are_whole() -> None:
    best = run_audit(planted(), split(), ATTACKS, seed=0).to_json()["families"]["direct"]
    assert best["roc"]["fpr"][0] == 0
    assert best["roc"]["tpr"][-1] == 1
    for side in ("members", "non_members"):
        assert sum(best["histogram"][side]) == pytest.approx(1)
    assert len(best["histogram"]["edges"]) == len(best["histogram"]["members"]) + 1
    assert np.all(np.diff(best["roc"]["fpr"]) >= 0)


def test_a_report_says_what_was_audited() -> None:
    """Hashes tell records and weights apart; a model without known weights has none."""
    parts = split()
    models = [
        Undefended(NETWORK, CLASSES, RECIPE).fit(parts.train, parts.validation, seed=seed)
        for seed in (1, 2)
    ]
    one, other = (run_audit(model, parts, ATTACKS[:1], seed=0).inputs for model in models)
    assert set(one) == {"records", "model", "version"}
    assert one["records"] == other["records"]
    assert one["model"] != other["model"]
    assert set(run_audit(planted(), parts, ATTACKS[:1], seed=0).inputs) == {"records", "version"}
    fewer = replace(
        parts, known=replace(parts.known, members=parts.known.members.take(torch.arange(30)))
    )
    assert run_audit(models[0], fewer, ATTACKS[:1], seed=0).inputs["records"] != one["records"]


def test_repr_of_a_report_is_one_short_line() -> None:
    report = run_audit(planted(), split(), ATTACKS, seed=0)
    assert len(repr(report)) < 200
    assert repr(report).startswith("AuditReport(severe: attack accuracy 100.0 % (")
