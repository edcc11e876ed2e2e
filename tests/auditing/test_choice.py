"""Each figure is of the attack that did best in it on known records, and of no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from selena.auditing.figure import EPSILON, METRICS, Figure, figures_of, fpr_of
from selena.auditing.report import AuditReport
from selena.auditing.results import AttackResult
from selena.auditing.scoring import Scored
from selena.errors import ConfigError
from tests.auditing.synthetic import attack, levels, report, scored

SHARP = levels([450, 400, 150], [550, 450, 0])
"""15 % of the members above every non-member, 57.5 % balanced accuracy."""
COARSE = levels([300, 700], [700, 300])
"""70 % balanced accuracy, nobody at a low FPR."""


def both() -> AuditReport:
    """Two attacks of two families, each the best in other figures."""
    return report(attack("coarse", COARSE), attack("sharp", SHARP, family="label-only"))


def test_low_fpr_names_the_sharp_attack() -> None:
    for fpr in (0.01, 0.001):
        found = both().tpr(fpr)
        assert (found.attack, found.family, found.value) == ("sharp", "label-only", 0.15)


def test_decisions_and_auc_name_the_coarse_attack() -> None:
    found = both()
    for figure in (found.balanced_accuracy, found.advantage):
        assert (figure.attack, figure.family) == ("coarse/global", "direct")
    assert found.auc.attack == "coarse"
    assert found.auc.value == pytest.approx(0.7)
    assert found.balanced_accuracy.value == pytest.approx(0.7)


def test_a_family_has_its_own_strongest_attack() -> None:
    found = both()
    assert found.figure("tpr@fpr=0.01", "direct").attack == "coarse"
    assert found.figure("auc", "label-only").attack == "sharp"
    audit = found.to_json()
    assert figures_of(audit)["auc"] == found.auc
    assert figures_of(audit, "label-only")["auc"] == found.figure("auc", "label-only")


def noisy(*, evaluation: int) -> list[AttackResult]:
    """Four attacks of two families, their evaluation scores drawn by the seed `evaluation`."""
    known_draw, draw = np.random.default_rng(0), np.random.default_rng(evaluation)
    truth = np.arange(300) % 2 == 0
    attacks = []
    for i, family in enumerate(("direct", "direct", "adaptive", "adaptive")):
        known = scored(known_draw.normal(truth * 0.2 * i), truth)
        found = scored(draw.normal(truth * 0.5), truth)
        attacks.append(attack(f"a{i}", known, found, canaries=found, family=family))  # type: ignore[arg-type]
    return attacks


def choices(of: AuditReport) -> dict[tuple[str, Any], tuple[str, float | None, tuple[str, ...]]]:
    return {
        (metric, family): (figure.attack, figure.known_value, figure.ties)
        for family in (None, *of.families)
        for metric, figure in of.figures(family).items()
    }


def test_evaluation_scores_never_choose() -> None:
    """Whoever wins there, by luck or not, the same attacks are reported."""
    first = choices(report(*noisy(evaluation=1)))
    assert len(first) == 3 * (len(METRICS) + 1)
    for seed in range(2, 4):
        assert choices(report(*noisy(evaluation=seed))) == first
    flipped = []
    for result in noisy(evaluation=1):
        known, found = result.scores.calibration, result.scores.evaluation
        worst = replace(found, scores=-found.scores)
        flipped.append(attack(result.name, known, worst, family=result.family, canaries=worst))
    assert choices(report(*flipped)) == first


def test_the_value_is_of_evaluation_records() -> None:
    found = report(attack("a", COARSE, levels([400, 600], [600, 400])))
    figure = found.balanced_accuracy
    assert figure.value == pytest.approx(0.6)
    assert figure.known_value == pytest.approx(0.7, abs=0.01)
    assert figure.interval[0] < 0.6 < figure.interval[1]


def test_equal_scores_under_two_names_are_a_tie() -> None:
    found = report(attack("first", SHARP), attack("second", SHARP, family="adaptive"))
    for metric in ("auc", "tpr@fpr=0.01", "tpr@fpr=0.001"):
        figure = found.figure(metric)
        assert (figure.attack, figure.ties) == ("first", ("second",))
    deciding = found.balanced_accuracy
    assert deciding.attack == "first/global"
    assert deciding.ties[0] == "second/global"
    assert "tied with 1 more" in str(found)


def test_a_clearly_worse_attack_is_no_tie() -> None:
    assert both().auc.ties == ()
    assert both().tpr(0.01).ties == ()


def test_few_known_records_choose_by_coarser_rates() -> None:
    """40 known non-members say nothing about a FPR of 0.1 %: one lucky member decides nothing."""
    evaluation = levels([500, 500], [500, 500])
    lucky = attack("lucky", levels([32, 2, 2, 4], [36, 3, 1, 0]), evaluation)
    steady = attack("steady", levels([18, 4, 16, 2], [36, 3, 1, 0]), evaluation)
    for metric in ("tpr@fpr=0.001", "tpr@fpr=0.01", "tpr@fpr=0.1"):
        assert report(lucky, steady).figure(metric).attack == "steady"
    # The lucky one still has the higher TPR there.
    assert lucky.known.tpr_at_fpr[0.001].tpr > steady.known.tpr_at_fpr[0.001].tpr


@pytest.mark.parametrize("metric", METRICS)
def test_few_held_out_records_do_not_win(metric: str) -> None:
    """A trained attack is judged by what it held out: 20 records prove no small lead."""
    many = levels([600, 800, 600], [1600, 380, 20])
    few = levels([5, 8, 7], [16, 4, 0])
    trained, plain = attack("trained", few, many), attack("plain", many)
    assert trained.variants["global"].known_records == 40
    assert report(trained, plain).figure(metric).name == "plain"
    # With as many records it would win.
    better = attack("trained", levels([500, 800, 700], [1600, 390, 10]), many)
    assert report(better, plain).figure(metric).name == "trained"


def test_epsilon_is_of_the_best_on_known_records() -> None:
    """Not of the attack that happens to find most canaries."""
    good = attack("good", levels([100, 900], [900, 100]), canaries=levels([20, 30], [30, 20]))
    lucky = attack("lucky", levels([450, 550], [550, 450]), canaries=levels([0, 50], [50, 0]))
    found = report(lucky, good).epsilon
    assert found is not None
    assert (found.attack, found.members, found.non_members) == ("good", 50, 50)
    assert good.canaries is not None
    assert found.value == good.canaries.bound.epsilon
    assert found.interval == (found.value, float("inf"))
    assert found.to_json()["interval"] == [found.value, None]
    assert Figure.from_json(found.to_json()) == found


def test_epsilon_needs_canaries_of_every_attack() -> None:
    without = report(attack("a", SHARP))
    assert without.epsilon is None
    assert EPSILON not in without.figures()
    with pytest.raises(ConfigError, match="needs canaries"):
        without.figure(EPSILON)


def test_a_slash_in_a_name_is_part_of_it() -> None:
    found = report(attack("lab/mia", SHARP, canaries=SHARP))
    assert {figure.name for figure in found.figures().values()} == {"lab/mia"}


def test_confidence_widens_every_interval() -> None:
    for metric in METRICS:
        narrow, wide = (both().figure(metric, confidence=c) for c in (0.9, 0.999))
        assert (narrow.value, narrow.attack) == (wide.value, wide.attack)
        assert wide.interval[0] <= narrow.interval[0] <= narrow.interval[1] <= wide.interval[1]
        assert wide.interval != narrow.interval


@pytest.mark.parametrize("fpr", [0.0, -0.1, 1.5, float("nan")])
def test_a_rate_out_of_range_is_refused(fpr: float) -> None:
    with pytest.raises(ConfigError, match="must lie in"):
        both().tpr(fpr)


@pytest.mark.parametrize("metric", ["accuracy", "", "tpr@fpr=low", "tpr"])
def test_an_unknown_metric_is_refused(metric: str) -> None:
    with pytest.raises(ConfigError, match=r"is no metric|names no FPR"):
        both().figure(metric)
    with pytest.raises(ConfigError, match=r"is no metric|names no FPR"):
        both().strongest(metric)


def test_without_an_attack_there_is_no_figure() -> None:
    none = report()
    assert none.figures() == {}
    with pytest.raises(ConfigError, match="holds no attack"):
        none.tpr(0.01)


def test_figures_read_as_they_were_written() -> None:
    for metric, figure in both().figures().items():
        assert Figure.from_json(figure.to_json()) == figure
        assert fpr_of(metric) is None or figure.value == both().tpr(fpr_of(metric) or 0).value


def test_unresolved_figures_say_what_resolves_them() -> None:
    few = report(attack("a", levels([45, 40, 15], [55, 45, 0])))
    found = {metric: (f.resolved, f.needed_non_members) for metric, f in few.figures().items()}
    assert found == {
        "balanced_accuracy": (True, 0),
        "advantage": (True, 0),
        "auc": (True, 0),
        "tpr@fpr=0.1": (True, 100),
        "tpr@fpr=0.01": (False, 1000),
        "tpr@fpr=0.001": (False, 10_000),
    }
    low, high = few.tpr(0.01).interval
    assert low < few.tpr(0.01).value < high


def test_queries_and_access_are_those_of_the_attack() -> None:
    costly = attack("a", SHARP, access="gradient")
    scores = replace(costly.scores, queries=7 * len(SHARP.truth) * 2)
    figure = report(replace(costly, scores=scores)).auc
    assert (figure.access, figure.queries_per_record) == ("gradient", 7.0)
    assert isinstance(costly.scores.evaluation, Scored)
