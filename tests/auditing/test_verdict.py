"""The verdict: what it is read off, where its limits lie, and how rarely it is wrong."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from selena.auditing.conditions import parse_condition
from selena.auditing.figure import EPSILON, Figure
from selena.auditing.gate import judge
from selena.auditing.report import AuditReport
from selena.auditing.results import AttackResult, Variant
from selena.auditing.scoring import AttackScores, Scored
from selena.auditing.verdict import LIMITS, Level, Verdict, judge_figures, over_seeds
from selena.metrics.summary import summarize
from selena.metrics.thresholds import fit_threshold
from tests.auditing.synthetic import attack, levels, report, scored

SHARP = levels([450, 400, 150], [550, 450, 0])
COARSE = levels([300, 700], [700, 300])


def figure(metric: str, value: float, low: float | None = None, n: int = 1000) -> Figure:
    """A figure that is above guessing unless `low` says otherwise."""
    return Figure(
        metric,
        value,
        (value - 1e-6 if low is None else low, value + 1e-6),
        "confidence",
        "direct",
        "logits",
        1.0,
        n,
        n,
    )


@pytest.mark.parametrize("metric", LIMITS)
def test_a_level_begins_at_its_limit(metric: str) -> None:
    large, severe = LIMITS[metric]
    levels_at: list[tuple[float, Level]] = [
        (large - 1e-4, "small"),
        (large, "large"),
        (severe - 1e-4, "large"),
        (severe, "severe"),
    ]
    for value, level in levels_at:
        found = judge_figures([figure(metric, value)])
        assert (found.level, found.figure) == (level, metric)


def test_a_difference_reaches_its_limit_in_decimals() -> None:
    assert 0.7 - 0.4 < 0.3  # in binary
    assert judge_figures([figure("advantage", 0.7 - 0.4)]).level == "large"


def test_the_worst_figure_decides() -> None:
    mild, severe = figure("tpr@fpr=0.001", 0.01), figure("advantage", 0.9)
    assert judge_figures([mild, severe]).figure == "advantage"
    assert judge_figures([mild, severe]).level == "severe"


def test_of_equals_the_lowest_fpr_leads() -> None:
    sharp = attack("sharp", levels([4500, 4000, 1500], [5500, 4500, 0]))
    found = report(attack("coarse", levels([10, 990], [990, 10])), sharp)
    assert found.advantage.value > LIMITS["advantage"][1]
    assert (found.verdict.level, found.verdict.figure) == ("severe", "tpr@fpr=0.001")
    assert found.verdict.reason == (
        'The attack "sharp" finds 15.0% of the members and wrongly accuses 0.1% of the '
        "non-members; guessing finds 0.1%."
    )


def test_averages_count_where_low_rates_show_nothing() -> None:
    found = report(attack("coarse_one", COARSE)).verdict
    assert (found.level, found.figure) == ("large", "advantage")
    assert found.reason == (
        'The attack "coarse one" tells members from non-members in 70.0% of the cases; guessing '
        "does so in 50%."
    )


def test_a_figure_that_may_be_guessing_does_not_count() -> None:
    unsure = figure("tpr@fpr=0.001", 0.5, low=0.0)
    sure = figure("advantage", 0.1)
    assert judge_figures([unsure, sure]).level == "small"
    alone = judge_figures([unsure, figure("advantage", 0.1, low=-0.1)])
    assert alone == Verdict("none shown", "No figure is above guessing.")


@pytest.mark.parametrize(("n", "level"), [(25, "too few records"), (2000, "none shown")])
def test_few_records_do_not_acquit(n: int, level: Level) -> None:
    found = report(attack("a", levels([n, n], [n, n]))).verdict
    assert (found.level, found.figure) == (level, "")
    if level == "too few records":
        assert f"with {2 * n} records per side an advantage of 20% cannot be ruled out" in (
            found.reason
        )


def test_deciding_alike_for_all_does_not_acquit() -> None:
    """An advantage of exactly 0 with 50 records: other thresholds may do better."""
    values = [*range(0, 100, 2), *range(1, 100, 2)]
    few = scored(values, np.arange(100) < 50)
    nobody = attack("a", few)
    assert nobody.variants["global"].summary.advantage_interval[1] < 0.2
    assert report(nobody).verdict.level == "too few records"


def test_without_attacks_nothing_is_judged() -> None:
    assert report().verdict == Verdict("not attacked", "No attack was run.")


def test_canaries_count() -> None:
    """Though nothing leaks of ordinary records."""
    tight = levels([2000, 2000], [2000, 2000])
    planted = levels([0, 100], [100, 0])
    found = report(attack("a", tight, canaries=planted)).verdict
    assert (found.level, found.figure) == ("severe", EPSILON)
    assert "proves an epsilon of at least" in found.reason
    assert report(attack("a", tight)).verdict.level == "none shown"


def test_the_verdict_of_seeds_is_the_lower_median() -> None:
    def over(*named: Level) -> str:
        return over_seeds([Verdict(level, level) for level in named]).level

    assert over("severe") == "severe"
    assert over("severe", "none shown") == "none shown"
    assert over("severe", "none shown", "small") == "small"
    assert over("severe", "none shown", "small", "large") == "small"
    assert over("too few records", "none shown", "none shown") == "none shown"


def test_a_verdict_reads_as_it_was_written() -> None:
    found = report(attack("a", SHARP)).verdict
    assert Verdict.from_json(found.to_json()) == found
    assert report(attack("a", SHARP)).to_json()["verdict"] == found.to_json()


N, REPEATED = 200, 150


def harmless(seed: int) -> AuditReport:
    """Five attacks that see one noise through noises of their own, one of them two-valued."""
    draw = np.random.default_rng(seed)
    truth, zeros, ids = np.arange(2 * N) < N, np.zeros(2 * N, dtype=int), np.arange(2 * N)
    shared = draw.normal(size=(2, 2 * N))
    attacks = []
    for i in range(5):
        seen = shared + (0.7 * draw.normal(size=shared.shape) if i else 0)
        scores = (seen > 0).astype(np.float64) if i == 1 else seen
        known, evaluation = (Scored(each, truth, zeros, ids) for each in scores)
        attacks.append(with_one_threshold(f"a{i}", known, evaluation))
    return report(*attacks)


def with_one_threshold(name: str, known: Scored, evaluation: Scored) -> AttackResult:
    """The figures that a verdict is read off; quicker than all that a report holds."""
    rule = fit_threshold(known.scores, known.truth)
    on_known, decisions = (rule.decide(each.scores, each.labels) for each in (known, evaluation))
    accuracy = float((on_known == known.truth).mean())
    summary = summarize(evaluation.scores, decisions, evaluation.truth, fprs=())
    variants = {"global": Variant(summary, accuracy, 2 * N)}
    found = AttackScores(known, evaluation, 2 * N, 4 * N, 0.0)
    return AttackResult(name, "direct", "logits", {}, variants, found)


@pytest.mark.usefixtures("unchecked")
def test_a_harmless_model_is_seldom_accused() -> None:
    """By the verdict in 5 %, by a gate of five conditions in 2.5 % of the audits at most."""
    conditions = [
        parse_condition(text)
        for text in (
            "tpr@fpr=10%>10%",
            "tpr@fpr=1%>1%",
            "tpr@fpr=0.1%>0.1%",
            "advantage>0",
            "auc>0.5",
        )
    ]
    accused = failed = 0
    for seed in range(REPEATED):
        found = harmless(seed)
        accused += found.verdict.level in ("small", "large", "severe")
        failed += any(judged.outcome == "fails" for judged in judge(found, conditions))

    def most(share: float) -> float:
        return REPEATED * share + 3 * sqrt(REPEATED * share * (1 - share))

    assert accused <= most(0.05)
    assert failed <= most(0.025)
