"""Rows of the worst-case benchmark: one per defense and seed, and how they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from selena.data.audit_pool import KINDS
from selena.experiments.paper.plots import Point, Value
from selena.experiments.paper.worst_case_figures import ATTACKS, Found, KindFigures
from selena.experiments.paper.worst_case_tuning import UtilityTrial
from selena.reports.table import Cell, percent


@dataclass(frozen=True)
class WorstCaseRow:
    """One tuned defense on one draw of the records.

    Attributes:
        defense: its name.
        seed: seed of the draw.
        setting: the chosen setting, as names and values.
        target: accuracy that it was tuned for, in [0, 1].
        tuning_accuracy: accuracy of the chosen setting on tuning records, in [0, 1].
        meets_target: whether that is close enough to the target.
        trials: every setting that was tried.
        test_accuracy: mean over the models, in [0, 1].
        test_accuracy_sd: standard deviation over the models.
        attacks: what each attack finds of each kind of record.
    """

    defense: str
    seed: int
    setting: dict[str, Any]
    target: float
    tuning_accuracy: float
    meets_target: bool
    trials: Sequence[UtilityTrial]
    test_accuracy: float
    test_accuracy_sd: float
    attacks: Found

    def news(self) -> str:
        """Return the row in one line."""
        best = max(self.attacks[attack][kind].tpr for attack in ATTACKS for kind in KINDS)
        return f"test accuracy {percent(self.test_accuracy)}, worst TPR {percent(best)}"


def lines(rows: Sequence[WorstCaseRow]) -> list[list[Cell]]:
    """Return one line of cells per attack for the seeds of one defense."""
    settings = [", ".join(f"{k} = {v}" for k, v in row.setting.items()) for row in rows]
    setting = "; ".join(dict.fromkeys(settings))
    missed = "" if all(row.meets_target for row in rows) else " (target missed)"
    accuracy = Cell(
        percent(fmean(row.test_accuracy for row in rows)) + missed,
        f"± {percent(_spread(rows))}",
    )
    name = rows[0].defense
    return [
        [Cell(name), Cell(attack), Cell(setting or "–"), accuracy]
        + [_cell([row.attacks[attack][kind] for row in rows]) for kind in KINDS]
        for attack in ATTACKS
    ]


def _spread(rows: Sequence[WorstCaseRow]) -> float:
    """Return the standard deviation over seeds, or over the models of a single one."""
    if len(rows) == 1:
        return rows[0].test_accuracy_sd
    return stdev(row.test_accuracy for row in rows)


def _cell(found_by_seed: Sequence[KindFigures]) -> Cell:
    tprs = [one.tpr for one in found_by_seed]
    auc = percent(fmean(one.auc for one in found_by_seed))
    if len(tprs) > 1:
        return Cell(f"{percent(fmean(tprs))} / {auc}", f"± {percent(stdev(tprs))}")
    low, high = found_by_seed[0].tpr_interval
    return Cell(f"{percent(tprs[0])} / {auc}", f"{percent(low)}–{percent(high)}")


def point(rows: Sequence[WorstCaseRow]) -> Point:
    """Return accuracy, and the mean over seeds of the highest TPR of any attack on any kind."""
    means = {
        (attack, kind): fmean(row.attacks[attack][kind].tpr for row in rows)
        for attack in ATTACKS
        for kind in KINDS
    }
    attack, kind = max(means, key=lambda each: means[each])
    tpr = 100 * means[attack, kind]
    if len(rows) == 1:
        low, high = (100 * end for end in rows[0].attacks[attack][kind].tpr_interval)
    else:
        sd = 100 * stdev(row.attacks[attack][kind].tpr for row in rows)
        low, high = tpr - sd, tpr + sd
    accuracy = 100 * fmean(row.test_accuracy for row in rows)
    spread = 100 * _spread(rows)
    return Point(
        rows[0].defense,
        utility=Value(accuracy, accuracy - spread, accuracy + spread),
        leakage=Value(tpr, low, high),
    )
