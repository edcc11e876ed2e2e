"""The gate: verdicts follow from intervals and limits alone, and the worst one decides."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selena.auditing.conditions import parse_condition
from selena.auditing.gate import Bound, Outcome, check_bound, exit_code, judge
from selena.errors import ConfigError
from selena.metrics.low_fpr import tpr_at_fpr
from selena.metrics.roc import roc_curve
from tests.auditing.synthetic import attack, levels, report
from tests.auditing.verdicts import audited, verdict

LEAKING, PRIVATE, TINY = (4000, 3.0), (4000, 0.0), (32, 0.0)


@pytest.mark.parametrize(
    ("bound", "low", "value", "high", "outcome"),
    [
        ("both", 0.11, 0.2, 0.3, "fails"),
        ("both", 0.05, 0.2, 0.3, "unresolved"),
        ("both", 0.05, 0.07, 0.3, "unresolved"),
        ("both", 0.05, 0.07, 0.1, "passes"),
        ("upper", 0.05, 0.07, 0.3, "fails"),
        ("upper", 0.05, 0.07, 0.1, "passes"),
        ("lower", 0.05, 0.2, 0.3, "passes"),
        ("lower", 0.11, 0.2, 0.3, "fails"),
        ("point", 0.05, 0.2, 0.3, "fails"),
        ("point", 0.05, 0.07, 0.3, "passes"),
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
    assert verdict("advantage>0.1", 0.1, 0.1, 0.1).outcome == "passes"
    assert verdict("advantage>=0.1", 0.1, 0.1, 0.1).outcome == "fails"


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3).map(sorted), st.floats(0.01, 0.99))
def test_strict_bounds_never_pass_what_lenient_fail(values: list[float], limit: float) -> None:
    low, value, high = values
    for text in (f"auc>{limit!r}", f"auc<={limit!r}"):
        lower, point, upper, both = (
            exit_code([verdict(text, low, value, high, bound)])
            for bound in ("lower", "point", "upper", "both")
        )
        assert lower <= point <= upper
        assert both == (lower if lower == upper else 2)


@pytest.mark.parametrize(
    ("bound", "outcome"),
    [("both", "fails"), ("upper", "fails"), ("lower", "fails"), ("point", "unresolved")],
)
def test_few_records_leave_the_interval_to_judge(bound: Bound, outcome: Outcome) -> None:
    """The interval counts that they are few; the value alone does not."""
    judged = verdict("tpr@fpr=0.001>0.05", 0.2, 0.3, 0.4, bound, needed=10_000)
    assert judged.outcome == outcome
    few = "100 non-members are too few for a FPR of 0.001; 10,000 resolve it"
    assert (judged.reason == few) == (bound == "point")
    between = verdict("tpr@fpr=0.001>0.25", 0.2, 0.3, 0.4, needed=10_000)
    assert between.reason == f"the limit lies within the interval; {few}"


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


def test_fail_beats_unresolved_beats_pass() -> None:
    fails = verdict("auc>0.6", 0.7, 0.8, 0.9)
    unresolved = verdict("auc>0.6", 0.5, 0.7, 0.9)
    passes = verdict("auc>0.6", 0.4, 0.5, 0.6)
    assert exit_code([unresolved, fails, passes]) == 3
    assert exit_code([passes, unresolved]) == 2
    assert exit_code([passes]) == exit_code([]) == 0


@pytest.mark.parametrize(
    ("audit", "code"),
    [(LEAKING, 3), (PRIVATE, 0), (TINY, 2)],
    ids=["leaking", "private", "tiny"],
)
def test_real_audits(audit: tuple[int, float], code: int) -> None:
    texts = ("advantage>0.15", "accuracy>60%", "auc>0.6", "gap>0.15")
    for text in texts:
        assert exit_code(judge(audited(*audit), [parse_condition(text)])) == code, text
    assert exit_code(judge(audited(*audit), map(parse_condition, texts))) == code


@pytest.mark.usefixtures("unchecked")
def test_json_is_not_judged() -> None:
    """Figures that a file states are not believed: they are computed from scores."""
    edited: Any = audited(*LEAKING).to_json()
    with pytest.raises(ConfigError, match="figures in a file are not trusted"):
        judge(edited, [parse_condition("advantage>0.15")])


def test_verdicts_carry_figures_and_their_attack() -> None:
    report = audited(*LEAKING)
    texts = ("advantage>0.1", "accuracy>0.6", "auc>0.6", "tpr@fpr=0.01>0.5")
    found = [judge(report, [parse_condition(text)])[0].measured for text in texts]
    figures = [report.advantage, report.balanced_accuracy, report.auc, report.tpr(0.01)]
    assert [m.source for m in found] == [f"direct attack {f.attack}" for f in figures]
    assert [(m.value, m.interval) for m in found] == [(f.value, f.interval) for f in figures]
    assert found[0].n == {"members": 1000, "non_members": 1000}


def test_conditions_share_the_error() -> None:
    """Of one condition the interval has 95 %; of five, 99 % each."""
    report = audited(*LEAKING)
    texts = ("advantage>0.1", "auc>0.6", "tpr@fpr=0.01>0.5", "gap>0.1", "test_accuracy<0.5")
    together = judge(report, map(parse_condition, texts))
    assert together[0].measured.interval == report.figure("advantage", confidence=0.99).interval
    assert together[1].measured.interval == report.figure("auc", confidence=0.99).interval
    for text, wide in zip(texts, together, strict=True):
        (alone,) = judge(report, [parse_condition(text)])
        assert wide.measured.value == alone.measured.value
        assert wide.measured.interval[0] < alone.measured.interval[0]
        assert wide.measured.interval[1] > alone.measured.interval[1]


def test_several_audits_share_the_error() -> None:
    report, (condition,) = audited(*LEAKING), [parse_condition("auc>0.6")]
    (judged,) = judge(report, [condition], audits=5)
    assert judged.measured.interval == report.figure("auc", confidence=0.99).interval


def test_the_models_own_accuracies_and_their_gap() -> None:
    report = audited(*LEAKING)
    texts = ("train_accuracy<0.5", "test_accuracy<0.5", "gap>0.1")
    train, test, gap = (judge(report, [parse_condition(text)])[0].measured for text in texts)
    assert (train.value, train.n) == (report.train_accuracy.value, {"records": 2000})
    assert (test.interval, test.n) == (report.test_accuracy.interval, {"records": 1000})
    assert gap.value == pytest.approx(train.value - test.value)
    assert gap.interval[0] < gap.value < gap.interval[1]
    assert gap.n == {"train": 2000, "test": 1000}


def test_a_report_answers_any_rate() -> None:
    report = audited(*LEAKING)
    (judged,) = judge(report, [parse_condition("tpr@fpr=5%>0.1")])
    scored = report.strongest("tpr@fpr=0.05").scores.evaluation
    expected = tpr_at_fpr(roc_curve(scored.scores, scored.truth), 0.05)
    assert (judged.measured.value, judged.measured.interval) == (expected.tpr, expected.interval)
    assert exit_code(judge(report, [parse_condition("tpr@fpr=0.0001>0.01")])) == 2


def test_the_strongest_family_on_known_records_decides() -> None:
    """Not the one that looks worst on evaluation records."""
    weak, strong = levels([45, 55], [55, 45]), levels([30, 70], [70, 30])
    lucky = attack("lucky", weak, levels([10, 90], [90, 10]), family="direct")
    strongest = attack("strongest", strong, family="label-only")
    (judged,) = judge(report(lucky, strongest), [parse_condition("auc>0.6")], subject="selena")
    assert judged.measured.source == "label-only attack strongest"
    assert judged.measured.value == pytest.approx(0.7)
    assert judged.subject == "selena"


def test_without_attack_only_the_model_is_judged() -> None:
    audit = replace(audited(*PRIVATE), attacks={})
    assert judge(audit, [parse_condition("gap>0.9")])[0].outcome == "passes"
    with pytest.raises(ConfigError, match="the report holds none"):
        judge(audit, [parse_condition("auc>0.6")])


def test_an_unknown_bound_is_named() -> None:
    assert check_bound("lower") == "lower"
    with pytest.raises(ConfigError, match="Did you mean 'lower'"):
        check_bound("lowr")


def test_the_json_of_a_verdict_is_plain() -> None:
    value = verdict(
        "auc>0.6", 0.5, 0.7, 0.9, subject="selena, seed 0", inputs={"model": "abc"}
    ).to_json()
    assert json.loads(json.dumps(value)) == value
    assert value["outcome"] == "unresolved"
    assert value["interval"] == [0.5, 0.9]
    assert value["inputs"] == {"model": "abc"}


def test_verdicts_say_what_was_judged() -> None:
    (judged,) = judge(audited(*LEAKING), [parse_condition("auc>0.6")])
    assert judged.inputs == audited(*LEAKING).inputs
    assert set(judged.inputs) == {"records", "predictions", "version"}
    others = audited(*TINY).inputs
    assert others["records"] != judged.inputs["records"]
