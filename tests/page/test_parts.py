"""The parts of the page: what they say about figures, seeds and lack of records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from selena.auditing.table import Cell
from selena.metrics.intervals import clopper_pearson
from selena.page.attack_table import TITLES, attack_lines
from selena.page.charts import draw_classes, draw_roc, draw_scores, draw_tradeoff
from selena.page.exposed import SHOWN, exposed_tables
from selena.page.groups import group_runs, headline_family
from selena.page.limits import limits
from selena.page.runs import Run
from selena.page.words import summarize_groups
from tests.page.made import plain, run, runs


def changed(made: Run, **changes: Any) -> Run:
    """Return the run with other figures of its best attack."""
    row = plain(made.row)
    row["best"]["direct"] |= changes
    return Run(row, made.best)


def point(tpr: float, low: float, high: float, resolved: bool = True) -> dict[str, Any]:
    return {
        "tpr": tpr,
        "interval": [low, high],
        "resolved": resolved,
        "needed_non_members": 100,
    }


def sentences(*made: Run) -> str:
    (summary,) = summarize_groups(group_runs(made))
    return " ".join(summary.sentences).replace("\u00a0", " ")


LEAK = {
    "tpr_at_fpr": {"0.1": point(0.2, 0.15, 0.25), "0.01": point(0.043, 0.023, 0.073)},
    "balanced_accuracy": 0.6,
    "balanced_accuracy_interval": [0.55, 0.65],
}


def test_a_leak_in_plain_words() -> None:
    said = sentences(changed(run(), **LEAK, known_accuracy=0.6))
    assert (
        "An attacker who may be wrong for 1 non-member in 100 finds 4.3 % of the members (between "
        "2.3 and 7.3 %, with 95 % confidence); guessing would find 1 %." in said
    )
    assert "right for 60.0 % of them (between 55.0 and 65.0 %" in said
    assert "told apart" not in said
    assert "no proof" not in said


def test_what_cannot_be_told_from_guessing_is_said() -> None:
    weak = {
        "tpr_at_fpr": {"0.01": point(0.012, 0.004, 0.03)},
        "balanced_accuracy": 0.51,
        "balanced_accuracy_interval": [0.47, 0.55],
    }
    (summary,) = summarize_groups(group_runs([changed(run(), **weak)]))
    assert (summary.verdict, summary.leaks) == ("no leak shown", False)
    said = " ".join(summary.sentences)
    assert said.count("The two cannot be told apart with so few records.") == 2
    assert "This is no proof that nothing leaks" in said
    below = changed(run(), **weak | {"balanced_accuracy_interval": [0.45, 0.49]})
    assert "guessing is right for 50 %. That is less than guessing." in sentences(below)


def test_a_leak_at_low_fpr_alone_is_a_leak() -> None:
    made = changed(
        run(), **LEAK | {"balanced_accuracy": 0.51, "balanced_accuracy_interval": [0.47, 0.55]}
    )
    (summary,) = summarize_groups(group_runs([made]))
    assert (summary.verdict, summary.leaks) == ("membership leaks", True)


def test_too_few_non_members_are_unresolved_and_not_a_figure() -> None:
    points = {"0.1": point(0.2, 0.15, 0.25), "0.01": point(0.4, 0.3, 0.5, resolved=False)}
    said = sentences(changed(run(), **LEAK | {"tpr_at_fpr": points}, non_members=80))
    assert "unresolved: 80 non-members were scored, and it takes at least 100." in said
    assert "40.0" not in said
    assert "wrong for 1 non-member in 10 finds 20.0 % of the members" in said


def test_several_seeds_are_a_mean_and_a_range() -> None:
    other = LEAK | {"balanced_accuracy": 0.5, "balanced_accuracy_interval": [0.45, 0.55]}
    other["tpr_at_fpr"] = {"0.01": point(0.003, 0.0, 0.02)}
    made = [changed(run(), **LEAK), changed(run(seed=1), **other)]
    said = sentences(*made)
    assert "Over 2 seeds, an attacker" in said
    assert "finds 2.3 % of the members on average (from 0.3 to 4.3 %)" in said
    assert "right for 55.0 % of them on average (from 50.0 to 60.0 %)" in said
    assert "In 1 of 2 seeds the 95 % interval lies above guessing." in said
    (summary,) = summarize_groups(group_runs(made))
    assert summary.verdict == "membership leaks in 1 of 2 seeds"


def test_a_defense_is_compared_with_the_undefended_model() -> None:
    made = [
        Run(plain(each.row) | {"test_accuracy": accuracy})
        for each, accuracy in zip(runs(), (0.80, 0.75), strict=True)
    ]
    base, defended = summarize_groups(group_runs(made[::-1]))[::-1]
    assert "It classifies 80.0\u00a0% of new records correctly." in base.sentences
    assert any("5.0 points less than undefended" in each for each in defended.sentences)


def test_seeds_stand_together_and_settings_apart() -> None:
    def with_settings(seed: int, k: int) -> Run:
        made = run("selena", seed=seed)
        return Run(made.row, made.best, {"settings": {"seed": seed, "k": k}})

    made = [with_settings(0, 5), with_settings(1, 5), with_settings(0, 9)]
    groups = group_runs(made)
    assert [(g.label, len(g.runs)) for g in groups] == [("selena (1)", 2), ("selena (2)", 1)]
    other = Run(plain(run().row) | {"dataset": "other"})
    assert [g.label for g in group_runs([run(), other])] == [
        "undefended on toy",
        "undefended on other",
    ]


def test_the_headline_is_chosen_on_known_records_less_a_standard_error() -> None:
    row = plain(run().row)
    best = row["best"]["direct"]
    row["best"] = {
        "direct": best | {"known_accuracy": 0.60, "known_records": 400},
        # Higher, but of the few records that a trained attack held out.
        "label-only": best | {"known_accuracy": 0.62, "known_records": 40},
        "adaptive": best | {"known_accuracy": 0.55, "balanced_accuracy": 0.99},
    }
    assert headline_family(row) == "direct"
    assert headline_family(row | {"best_of_all": {"family": "adaptive"}}) == "adaptive"


def test_the_table_has_a_line_an_attack_and_values_to_sort_by() -> None:
    lines = attack_lines(group_runs(runs((0, 1))))
    assert len(lines) == 2 * 2
    for line in lines:
        assert len(line.cells) == len(TITLES)
        accuracy, auc = line.cells[5:7]
        assert accuracy.value is not None
        assert accuracy.cell.text == f"{100 * accuracy.value:.1f}"
        assert accuracy.cell.spread.startswith("±")
        assert auc.value is not None
    assert [line.mark for line in lines].count("best of all") == 2


def test_unresolved_cells_hold_no_value() -> None:
    (line, *_) = attack_lines(group_runs([run()]))
    cell = line.cells[-1]
    assert cell.cell == Cell("unresolved", "needs 1,000")
    assert cell.value is None


def test_the_band_is_the_interval_of_each_corner() -> None:
    (group,) = group_runs([run()])
    best = group.first["best"]["direct"]
    low, high, curve, guess = draw_roc([group], "direct").spec["data"]
    members = best["members"]
    for i in range(1, len(best["roc"]["tpr"])):
        hits = round(best["roc"]["tpr"][i] * members)
        assert curve["customdata"][i] == list(clopper_pearson(hits, members))
        assert high["y"][i] == pytest.approx(curve["customdata"][i][1])
        assert low["y"][i] <= curve["y"][i] <= high["y"][i]
    # A logarithmic axis has no 0.
    assert min(*low["y"], *high["y"], *curve["x"], *guess["x"]) > 0


def test_scores_are_drawn_as_shares_of_their_own_side() -> None:
    (group,) = group_runs([run()])
    for side in draw_scores(group).spec["data"]:
        assert sum(side["y"]) == pytest.approx(100)


def test_the_tradeoff_has_intervals_of_one_seed_and_deviations_of_several() -> None:
    (one,) = draw_tradeoff(group_runs([run()])).spec["data"]
    low, high = run().row["test_accuracy_interval"]
    assert one["x"][0] + one["error_x"]["array"][0] == pytest.approx(100 * high)
    assert one["x"][0] - one["error_x"]["arrayminus"][0] == pytest.approx(100 * low)
    (two,) = draw_tradeoff(group_runs([run(), run(seed=1)])).spec["data"]
    assert two["error_y"]["array"] == pytest.approx(two["error_y"]["arrayminus"])


def test_classes_share_one_scale() -> None:
    groups = group_runs(runs())
    assert draw_classes([]) == []
    charts = draw_classes([(group, []) for group in groups])
    ranges = [chart.spec["layout"]["yaxis"]["range"] for chart in charts]
    assert ranges[0] == ranges[1]


def test_the_most_exposed_records_before_and_after() -> None:
    made = runs((0, 1))
    (table,) = exposed_tables(group_runs(made))
    assert (table.label, table.seed, len(table.lines)) == ("undefended", 0, SHOWN)
    assert table.titles[-2:] == ["Found at FPR (%), undefended", "Found at FPR (%), selena"]
    assert all(len(line) == len(table.titles) for line in table.lines)
    before = [line[-2].value or 0.0 for line in table.lines]
    after = [line[-1].value or 0.0 for line in table.lines]
    assert before == sorted(before)
    assert sum(after) > sum(before)
    (said,) = table.sentences
    assert "members are found in undefended and" in said


def test_a_defense_of_another_seed_or_other_data_is_not_compared() -> None:
    (table,) = exposed_tables(group_runs([run(), run("selena", seed=1)]))
    assert table.titles[-1] == "Found at FPR (%), undefended"
    row, kept = run("selena").row, run("selena").best["direct"]
    records = kept.scores.evaluation
    others = replace(records, labels=records.labels + 1)  # other records under one name
    best = replace(kept, scores=replace(kept.scores, evaluation=others))
    (table,) = exposed_tables(group_runs([run(), Run(row, {"direct": best})]))
    assert table.sentences == []


def test_limits_name_what_was_not_done() -> None:
    said = " ".join(limits(group_runs([run(), run("selena", 0.0), run("selena", seed=1)])))
    missing = "label-only, adaptive or reference-model"
    assert f"Not attacked by {missing} attacks: undefended, selena." in said
    assert "One target model stands behind the figures of undefended:" in said
    assert "drawings show the first seed" in said
    assert "not a guarantee" in said
    assert "A FPR of 0.1 % is unresolved: that takes 1,000 non-members." in said
