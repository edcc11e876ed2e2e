"""The parts of the page: what they say about figures, seeds and lack of records."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from selena.auditing.figure import figures_of
from selena.auditing.report import AuditReport
from selena.auditing.results import AttackResult
from selena.auditing.scoring import Scored
from selena.auditing.verdict import LIMITS, Level
from selena.metrics.low_fpr import tpr_at_fpr
from selena.reports.page.charts import draw_classes, draw_roc, draw_scores, draw_tradeoff
from selena.reports.page.method import about, facts, limits
from selena.reports.page.tables import SHOWN, TITLES, attack_lines, exposed_tables
from selena.reports.page.words import VERDICTS, CardText, summarize_models, verdict_limits
from selena.reports.runs import Run, run_of_audit, runs_by_model
from selena.reports.table import FEW
from tests.auditing.synthetic import attack, levels, report, scored
from tests.reports.made import TODAY, plain, run, runs

SHARP = levels([450, 400, 150], [550, 450, 0])
"""15 % of the members above every non-member."""
COARSE = levels([300, 700, 0], [700, 300, 0])
"""Right for 70 % of both sides, and of no use at a low FPR."""


def even(n: int) -> Scored:
    """Members and non-members in turns."""
    return scored(np.arange(2.0 * n), np.arange(2 * n) % 2 == 0)


def made(*attacks: AttackResult, name: str = "undefended", seed: int = 0) -> Run:
    return run_of_audit(report(*attacks), name=name, seed=seed)


def summary(*runs: Run) -> CardText:
    (found,) = summarize_models(runs_by_model(runs))
    return found


def sentences(*runs: Run) -> str:
    return " ".join(summary(*runs).sentences).replace("\u00a0", " ")


def test_a_leak_in_plain_words() -> None:
    said = sentences(made(attack("confidence", SHARP)))
    assert (
        "An attacker who accepts one wrong accusation per 100 non-members finds 15.0 % (12.9 to "
        "17.3 % with 95 % confidence) of the members; guessing finds 1.0 %." in said
    )
    assert "(confidence) is right in 57.5 % (56.4 to 58.7 % with 95 % confidence) of" in said
    assert "too few to tell" not in said
    assert "no proof" not in said


def test_the_card_names_the_attack_of_its_figure() -> None:
    """Not the one that is strongest in another figure."""
    both = made(attack("sharp one", SHARP), attack("coarse_one", COARSE, family="label-only"))
    said = sentences(both)
    assert "the most accurate attack (coarse one) is right in 70.0 %" in said
    assert "finds 15.0 % (12.9 to 17.3 %" in said
    lines = {line.cells[1].cell.text: line.mark for line in attack_lines(runs_by_model([both]))}
    assert lines == {
        "sharp one": "strongest in TPR at 1 %, TPR at 0.1 %",
        "coarse one": "strongest in accuracy, AUC",
    }


def test_what_cannot_be_told_from_guessing_is_said() -> None:
    harmless = made(attack("confidence", even(1000)))
    found = summary(harmless)
    assert (found.verdict, found.level) == ("no leak shown", "none shown")
    said = sentences(harmless)
    assert said.count("These records are too few to tell that from guessing.") == 2
    assert "This is no proof that nothing leaks" in said
    below = made(attack("confidence", levels([40, 60], [60, 40]), levels([600, 400], [400, 600])))
    assert "guessing is right in 50 %. That is less than guessing." in sentences(below)


def test_few_records_are_no_harmless_model() -> None:
    few = made(attack("confidence", even(50)))
    assert summary(few).verdict == "too few records to tell"
    assert "This is no proof that nothing leaks" in sentences(few)


def test_a_leak_at_low_fpr_alone_is_a_leak() -> None:
    known, evaluation = levels([300, 670, 30], [700, 300, 0]), levels([485, 485, 30], [500, 500, 0])
    found = made(attack("confidence", known, evaluation))
    figures = figures_of(found.row)
    assert not figures["balanced_accuracy"].above_chance
    assert (summary(found).verdict, summary(found).level) == ("small leak", "small")


def test_few_non_members_make_a_rough_figure() -> None:
    said = sentences(made(attack("confidence", levels([45, 40, 15], [55, 45, 0]))))
    assert "finds 15.0 % (" in said
    assert (
        "That is a rough figure: 100 non-members were scored, and 1,000 would make it a firm one."
        in said
    )


def test_several_seeds_are_a_mean_and_a_range() -> None:
    leaky, tight = made(attack("a", SHARP)), made(attack("a", even(1000)), seed=1)
    said = sentences(leaky, tight)
    assert "finds 8.0 % (mean of 2 runs, from 1.0 to 15.0 %) of the members" in said
    assert "right in 53.8 % (mean of 2 runs, from 50.0 to 57.5 %) of the cases" in said
    assert said.count("In 1 of 2 runs the 95 % interval is above guessing.") == 2


def test_the_verdict_over_seeds_counts_them() -> None:
    tight = [made(attack("a", even(1000)), seed=seed) for seed in (0, 1)]
    leaky = [made(attack("a", SHARP), seed=seed) for seed in (2, 3)]
    assert summary(*tight).verdict == "no leak shown (in all 2 runs)"
    # More than half of the seeds must show a leak.
    assert summary(tight[0], leaky[0]).level == "none shown"
    mixed = summary(tight[0], *leaky)
    assert mixed.level == "large"
    assert mixed.verdict == "large leak (in 2 of 3 runs; no leak shown in 1)"


def test_families_not_tried_are_in_the_card() -> None:
    direct = attack("a", SHARP)
    said = "Not tried: reference-model (LiRA, RMIA), adaptive or label-only attacks"
    assert said in sentences(made(direct))
    three = (attack("b", SHARP, family="label-only"), attack("c", SHARP, family="adaptive"))
    assert "Not tried: reference-model (LiRA, RMIA) attacks" in sentences(made(direct, *three))
    all_four = (*three, attack("d", SHARP, family="reference-model"))
    assert "Not attacked" not in sentences(made(direct, *all_four))


def test_every_level_has_words_and_limits() -> None:
    assert set(VERDICTS) == set(get_args(Level))
    said = verdict_limits()
    assert said.count(";") == len(LIMITS) - 1
    assert "members found at a false-positive rate of 0.1 %: 2 and 10 %" in said
    assert "AUC: 70 and 80 %" in said


def test_the_top_says_what_was_audited_and_when() -> None:
    first = made(attack("a", SHARP))
    found = dict(about(runs_by_model([first]), TODAY))
    assert found == {
        "Data set": "records",
        "Scored": "1,000 members and 1,000 non-members",
        "Page written": "2026-01-31",
        "Records, SHA-256": "5" * 24,
    }
    row = plain(made(attack("a", SHARP), name="selena").row)
    row["inputs"] = {"records": "6" * 24, "model": "7" * 24}
    both = dict(about(runs_by_model([first, Run(row)]), TODAY))
    assert both["Records, SHA-256"] == f"undefended {'5' * 16}…, selena {'6' * 16}…"
    assert both["Model, SHA-256"] == "7" * 24


def test_machines_that_round_otherwise_are_named() -> None:
    def with_numeric(numeric: dict[str, list[str]]) -> dict[str, str]:
        manifest = {
            "settings": {},
            "data": {"source": "here"},
            "code": {"version": "1", "torch": "2"},
            "numeric": numeric,
        }
        return dict(facts(runs_by_model([Run(run().row, run().report, manifest)]), ""))

    told = "odd: instruction_set is DEFAULT instead of AVX2"
    assert with_numeric({"mixed": [told]})["Machines that round otherwise (--mixed)"] == told
    assert not [name for name in with_numeric({}) if "Machines" in name]


def test_defense_is_compared_with_undefended() -> None:
    both = [
        Run(plain(each.row) | {"test_accuracy": accuracy})
        for each, accuracy in zip(runs(), (0.80, 0.75), strict=True)
    ]
    base, defended = summarize_models(runs_by_model(both[::-1]))[::-1]
    assert "The model is right for 80.0\u00a0% of new records." in base.sentences
    assert any("5.0 points less than undefended" in each for each in defended.sentences)


def test_seeds_stand_together_and_settings_apart() -> None:
    def with_settings(seed: int, k: int) -> Run:
        found = run("selena", seed=seed)
        return Run(found.row, found.report, {"settings": {"seed": seed, "k": k}})

    models = runs_by_model([with_settings(0, 5), with_settings(1, 5), with_settings(0, 9)])
    assert [(g.label, len(g.runs)) for g in models] == [("selena (1)", 2), ("selena (2)", 1)]
    other = Run(plain(run().row) | {"dataset": "other"})
    assert [g.label for g in runs_by_model([run(), other])] == [
        "undefended on toy",
        "undefended on other",
    ]


def test_table_has_sortable_line_per_attack() -> None:
    lines = attack_lines(runs_by_model(runs((0, 1))))
    assert len(lines) == 2 * 2
    for line in lines:
        assert len(line.cells) == len(TITLES)
        accuracy, auc = line.cells[5:7]
        assert accuracy.value is not None
        assert accuracy.cell.text == f"{100 * accuracy.value:.1f}"
        assert accuracy.cell.spread.startswith("±")
        assert auc.value is not None
    for marks in ([line.mark for line in lines[:2]], [line.mark for line in lines[2:]]):
        for figure in ("accuracy", "AUC", "TPR at 1 %", "TPR at 0.1 %"):
            assert sum(figure in mark for mark in marks) == 1


def test_a_tpr_of_few_false_positives_sorts_too() -> None:
    (line,) = attack_lines(runs_by_model([made(attack("a", SHARP))]))
    at_1, at_01 = line.cells[-2:]
    assert (at_1.cell.text, at_1.cell.spread, at_1.value) == ("15.0", "12.9–17.3", 0.15)
    assert (at_01.cell.text, at_01.value) == (f"15.0 {FEW}", 0.15)
    assert at_01.cell.spread


def test_the_band_is_the_interval_at_each_fpr() -> None:
    found = report(attack("a", SHARP))
    (model,) = runs_by_model([run_of_audit(found)])
    chart = draw_roc([model], "direct")
    (curve,) = chart.series
    band = curve.band
    assert band is not None
    assert len(band.x) > 20
    for fpr, lower, upper in zip(band.x, band.low, band.high, strict=True):
        interval = tpr_at_fpr(found.attacks["a"].curve, min(fpr, 1)).interval
        assert (lower, upper) == pytest.approx(interval, abs=1e-3)
    # A logarithmic axis has no 0: it lies outside, where nothing is drawn.
    assert curve.x[0] == 0
    assert chart.x.share(curve.x[0]) == -0.1


def test_scores_are_drawn_as_shares_of_their_own_side() -> None:
    (model,) = runs_by_model([run()])
    for side in draw_scores(model).series:
        assert sum(side.y) == pytest.approx(100)


def test_tradeoff_shows_intervals_or_deviations() -> None:
    (one,) = draw_tradeoff(runs_by_model([run()])).series
    low, high = run().row["test_accuracy_interval"]
    assert list(one.x_ends[0]) == pytest.approx([100 * low, 100 * high])
    (two,) = draw_tradeoff(runs_by_model([run(), run(seed=1)])).series
    ((start, end),) = two.y_ends
    assert end - two.y[0] == pytest.approx(two.y[0] - start)


def test_classes_share_one_scale() -> None:
    models = runs_by_model(runs())
    assert draw_classes([]) == []
    charts = draw_classes([(model, []) for model in models])
    assert charts[0].y == charts[1].y


def test_the_most_exposed_records_before_and_after() -> None:
    (table,) = exposed_tables(runs_by_model(runs((0, 1))))
    assert (table.label, table.seed, len(table.lines)) == ("undefended", 0, SHOWN)
    assert table.titles[-2:] == ["Found at FPR (%), undefended", "Found at FPR (%), selena"]
    assert all(len(line) == len(table.titles) for line in table.lines)
    before = [line[-2].value or 0.0 for line in table.lines]
    after = [line[-1].value or 0.0 for line in table.lines]
    assert before == sorted(before)
    assert sum(after) > sum(before)
    (said,) = table.sentences
    assert "members are found in undefended and" in said


def test_other_seed_or_data_is_not_compared() -> None:
    (table,) = exposed_tables(runs_by_model([run(), run("selena", seed=1)]))
    assert table.titles[-1] == "Found at FPR (%), undefended"
    kept = run("selena")
    assert kept.report is not None
    (table,) = exposed_tables(runs_by_model([run(), Run(kept.row, of_other_classes(kept.report))]))
    assert table.sentences == []


def of_other_classes(audit: AuditReport) -> AuditReport:
    """Other records under one name."""
    attacks = {}
    for name, result in audit.attacks.items():
        records = result.scores.evaluation
        others = replace(records, labels=(records.labels + 1) % 4)
        attacks[name] = replace(result, scores=replace(result.scores, evaluation=others))
    return replace(audit, attacks=attacks)


def test_limits_name_what_was_not_done() -> None:
    said = " ".join(limits(runs_by_model([run(), run("selena", 0.0), run("selena", seed=1)])))
    assert "The figures of undefended come from one trained model:" in said
    assert "drawings show the first seed" in said
    assert "not a guarantee" in said
    assert (
        "At a false-positive rate of 0.1 % intervals are wide: 10,000 non-members would make"
        in said
    )
