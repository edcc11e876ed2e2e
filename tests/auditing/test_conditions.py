"""The grammar of conditions: what is written is what is read, and nothing vacuous passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selena.auditing.conditions import METRICS, TPR_AT_FPR, Condition, parse_condition
from selena.errors import ConfigError

NAMES = [name for name in METRICS if not name.startswith(TPR_AT_FPR)]
# Strictly inside every metric's range, where any condition can be met and missed.
LIMITS = st.floats(0, 1, exclude_min=True, exclude_max=True)
OPERATORS = st.sampled_from([">", ">=", "<", "<="])


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    fpr = draw(st.none() | st.floats(0, 1, exclude_min=True))
    metric = draw(st.sampled_from(NAMES)) if fpr is None else TPR_AT_FPR
    return Condition(metric, draw(OPERATORS), draw(LIMITS), fpr)


@given(conditions())
def test_what_is_written_is_read_back(condition: Condition) -> None:
    assert parse_condition(str(condition)) == condition
    assert parse_condition(f"  {str(condition).replace('>', ' > ').replace('> =', '>=')} ") == (
        condition
    )


@given(st.text())
def test_any_text_is_a_condition_or_a_named_error(text: str) -> None:
    try:
        condition = parse_condition(text)
    except ConfigError:
        return
    assert parse_condition(str(condition)) == condition


@given(st.integers(1, 9999))
def test_percentages_are_written_as_expected(hundredths: int) -> None:
    percentage = f"{hundredths // 100}.{hundredths % 100:02d}"
    share = f"0.{hundredths:04d}"
    assert parse_condition(f"auc>{percentage}%") == parse_condition(f"auc>{share}")
    assert parse_condition(f"tpr@fpr={percentage} %>0.5").fpr == float(share)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("advantage>0.10", Condition("advantage", ">", 0.1)),
        ("tpr@fpr=0.01>0.05", Condition(TPR_AT_FPR, ">", 0.05, 0.01)),
        ("tpr@fpr=.1% >= 5%", Condition(TPR_AT_FPR, ">=", 0.05, 0.001)),
        ("tpr@fpr=1e-5>5e-2", Condition(TPR_AT_FPR, ">", 0.05, 1e-5)),
        ("test_accuracy < 80%", Condition("test_accuracy", "<", 0.8)),
        ("gap<=-0.2", Condition("gap", "<=", -0.2)),
        ("accuracy>=1", Condition("accuracy", ">=", 1.0)),
    ],
)
def test_conditions_as_people_write_them(text: str, expected: Condition) -> None:
    assert parse_condition(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("advantag>0.1", "Unknown metric 'advantag'. Did you mean 'advantage'"),
        ("balanced_accuracy>0.6", "Did you mean '"),
        ("tpr>0.1", "Did you mean 'tpr@fpr=X'"),
        ("auc@fpr=0.1>0.5", "Unknown metric"),
        ("advantage", "no condition.*quotes"),  # what a shell leaves of advantage>0.1
        ("", "no condition"),
        ("advantage>0.1>0.2", "no condition"),
        ("advantage=0.1", "no condition"),
        ("advantage>", "'' in 'advantage>' is no number"),
        ("advantage>0,1", "'0,1' in"),
        ("advantage>nan", "no number"),
        ("advantage>inf", "no number"),
        ("advantage>1e9999", "no number"),
        ("advantage>٠.١", "no number"),
        ("tpr@fpr=>0.1", "no number"),
        ("tpr@fpr=0>0.1", r"\(0, 1\]"),
        ("tpr@fpr=2>0.1", r"\(0, 1\]"),
        ("advantage>10", "write 0.1 or 10%"),
        ("advantage>1", "always or never"),
        ("auc<0", "always or never"),
        ("auc>-0.1", "always or never"),
        ("test_accuracy<80", "always or never"),
    ],
)
def test_what_is_no_condition_names_the_fix(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_condition(text)


def test_a_rate_belongs_to_the_tpr_alone() -> None:
    with pytest.raises(ConfigError, match="others take none"):
        Condition("auc", ">", 0.5, 0.1)
    with pytest.raises(ConfigError, match="needs a false-positive rate"):
        Condition(TPR_AT_FPR, ">", 0.5)
    with pytest.raises(ConfigError, match="Unknown operator"):
        Condition("auc", "==", 0.5)
