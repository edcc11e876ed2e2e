"""The gate: verdicts follow from intervals and limits alone, and the worst one decides."""

from __future__ import annotations

import copy
import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selena.auditing.conditions import parse_condition
from selena.auditing.gate import Bound, Outcome, check_bound, exit_code, judge
from selena.auditing.report import AuditReport
from selena.errors import ConfigError
from selena.metrics.low_fpr import tpr_at_fpr
from selena.metrics.roc import roc_curve
from tests.auditing.verdicts import audited, verdict

LEAKING, PRIVATE, TINY = (4000, 3.0), (4000, 0.0), (32, 0.0)


@pytest.mark.parametrize(
    ("bound", "low", "value", "high", "outcome"),
    [
        ("both", 0.11, 0.2, 0.3, "fails"),
        ("both", 0.05, 0.2, 0.3, "unresolved"),
        ("both", 0.05, 0.07, 0.3, "unresolved"),
        ("both", 0.05, 0.07, 0.1, "holds"),
        ("upper", 0.05, 0.07, 0.3, "fails"),
        ("upper", 0.05, 0.07, 0.1, "holds"),
        ("lower", 0.05, 0.2, 0.3, "holds"),
        ("lower", 0.11, 0.2, 0.3, "fails"),
        ("point", 0.05, 0.2, 0.3, "fails"),
        ("point", 0.05, 0.07, 0.3, "holds"),
    ],
)
def test_each_bound_compares_what_it_says(
    bound: Bound, low: float, value: float, high: float, outcome: Outcome
) -> None:
    assert verdict("advantage>0.1", low, value, high, bound).outcome == outcome
    # The same of a condition that fails downwards: "upper" stays the strict bound.
    mirrored = verdict("gap<-0.1", -high, -value, -low, bound)
    assert mirrored.outcome == outcome


def test_a_limit_that_is_met_exactly() -> None:
    assert verdict("advantage>0.1", 0.1, 0.1, 0.1).outcome == "holds"
    assert verdict("advantage>=0.1", 0.1, 0.1, 0.1).outcome == "fails"


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3).map(sorted), st.floats(0.01, 0.99))
def test_strict_bounds_never_pass_what_lenient_ones_fail(values: list[float], limit: float) -> None:
    low, value, high = values
    for text in (f"auc>{limit!r}", f"auc<={limit!r}"):
        lower, point, upper, both = (
            exit_code([verdict(text, low, value, high, bound)])
            for bound in ("lower", "point", "upper", "both")
        )
        assert lower <= point <= upper
        assert both == (lower if lower == upper else 2)


@pytest.mark.parametrize("bound", get_args(Bound))
def test_an_unresolved_rate_is_unresolved_by_any_bound(bound: Bound) -> None:
    judged = verdict("tpr@fpr=0.001>0.05", 0.2, 0.3, 0.4, bound, needed=1000)
    assert judged.outcome == "unresolved"
    assert judged.reason == "100 non-members cannot resolve a FPR of 0.001; at least 1,000 can"


def test_reasons_in_plain_words() -> None:
    def reason(*arguments: Any) -> str:
        return verdict(*arguments).reason

    assert reason("auc>0.6", 0.61, 0.7, 0.8) == "the lower end 0.6100 is above 0.6"
    assert reason("auc>=0.6", 0.4, 0.5, 0.59) == "the upper end 0.5900 is not at or above 0.6"
    assert reason("auc<0.6", 0.5, 0.7, 0.8, "upper") == "the lower end 0.5000 is below 0.6"
    assert reason("auc>0.6", 0.5, 0.7, 0.8, "point") == "the value 0.7000 is above 0.6"
    # Half the width to the limit needs four times the records.
    assert "about 4.0 times the records" in reason("auc>0.6", 0.3, 0.5, 0.7)
    assert "about 4.0 times the records" in reason("auc>0.6", 0.5, 0.7, 0.9)
    assert "too near to it" in reason("auc>0.6", 0.5, 0.6, 0.7)


def test_failing_wins_over_unresolved_and_that_over_holding() -> None:
    fails = verdict("auc>0.6", 0.7, 0.8, 0.9)
    unresolved = verdict("auc>0.6", 0.5, 0.7, 0.9)
    holds = verdict("auc>0.6", 0.4, 0.5, 0.6)
    assert exit_code([unresolved, fails, holds]) == 3
    assert exit_code([holds, unresolved]) == 2
    assert exit_code([holds]) == exit_code([]) == 0


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    ("audit", "code"),
    [(LEAKING, 3), (PRIVATE, 0), (TINY, 2)],
    ids=["leaking", "private", "tiny"],
)
def test_real_audits(audit: tuple[int, float], code: int, as_json: bool) -> None:
    report: AuditReport | dict[str, Any] = audited(*audit)
    if as_json:
        report = json.loads(json.dumps(audited(*audit).to_json()))
    texts = ("advantage>0.15", "accuracy>60%", "auc>0.6", "gap>0.15")
    for text in texts:
        assert exit_code(judge(report, [parse_condition(text)])) == code, text
    assert exit_code(judge(report, map(parse_condition, texts))) == code


def test_verdicts_carry_the_figures_of_the_best_attack_on_known_records() -> None:
    report = audited(*LEAKING)
    best = report.best("direct")
    summary = best.figures.summary
    texts = ("advantage>0.1", "accuracy>0.6", "auc>0.6", "tpr@fpr=0.01>0.5")
    found = [v.measured for v in judge(report, map(parse_condition, texts))]
    assert [m.source for m in found] == [f"direct attack {best.name}"] * 4
    assert [(m.value, m.interval) for m in found] == [
        (summary.advantage, summary.advantage_interval),
        (summary.balanced_accuracy, summary.balanced_accuracy_interval),
        (summary.auc, summary.auc_interval),
        (summary.tpr_at_fpr[0.01].tpr, summary.tpr_at_fpr[0.01].interval),
    ]
    assert found[0].n == {"members": 1000, "non_members": 1000}


def test_the_models_own_accuracies_and_their_gap() -> None:
    report = audited(*LEAKING)
    texts = ("train_accuracy<0.5", "test_accuracy<0.5", "gap>0.1")
    train, test, gap = (v.measured for v in judge(report, map(parse_condition, texts)))
    assert (train.value, train.n) == (report.train_accuracy.value, {"records": 2000})
    assert (test.interval, test.n) == (report.test_accuracy.interval, {"records": 1000})
    assert gap.value == pytest.approx(train.value - test.value)
    assert gap.interval[0] < gap.value < gap.interval[1]
    assert gap.n == {"train": 2000, "test": 1000}


def test_a_report_answers_any_rate_and_its_json_those_it_holds() -> None:
    report = audited(*LEAKING)
    (judged,) = judge(report, [parse_condition("tpr@fpr=5%>0.1")])
    scored = report.best("direct").result.scores.evaluation
    expected = tpr_at_fpr(roc_curve(scored.scores, scored.truth), 0.05)
    assert (judged.measured.value, judged.measured.interval) == (expected.tpr, expected.interval)
    assert exit_code(judge(report, [parse_condition("tpr@fpr=0.0001>0.9")])) == 2
    with pytest.raises(ConfigError, match=r"FPRs of 0\.001, 0\.01, 0\.1 only"):
        judge(report.to_json(), [parse_condition("tpr@fpr=5%>0.1")])


def test_the_family_nearest_to_failing_decides() -> None:
    audit = audited(*PRIVATE).to_json()
    leak = audited(*LEAKING).to_json()["best"]["direct"]
    audit["best"]["label-only"] = {**copy.deepcopy(leak), "attack": "boundary/global"}
    (over,) = judge(audit, [parse_condition("auc>0.6")], subject="selena")
    assert (over.outcome, over.measured.source) == ("fails", "label-only attack boundary/global")
    assert over.subject == "selena"
    (under,) = judge(audit, [parse_condition("auc<0.6")])
    assert (under.outcome, under.measured.source[:6]) == ("fails", "direct")


def test_without_an_attack_only_the_model_can_be_judged() -> None:
    audit = {**audited(*PRIVATE).to_json(), "best": {}}
    assert judge(audit, [parse_condition("gap>0.9")])[0].outcome == "holds"
    with pytest.raises(ConfigError, match="the report holds none"):
        judge(audit, [parse_condition("auc>0.6")])


def test_an_unknown_bound_is_named() -> None:
    assert check_bound("lower") == "lower"
    with pytest.raises(ConfigError, match="Did you mean 'lower'"):
        check_bound("lowr")


def test_the_json_of_a_verdict_is_plain() -> None:
    value = verdict("auc>0.6", 0.5, 0.7, 0.9, subject="selena, seed 0").to_json()
    assert json.loads(json.dumps(value)) == value
    assert value["outcome"] == "unresolved"
    assert value["interval"] == [0.5, 0.9]
