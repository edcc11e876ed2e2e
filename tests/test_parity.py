"""The comparison with published formulas: within rounding, and its page says what was found."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks import art_comparison
from benchmarks.parity import Row, fill, quick

ROOT = Path(__file__).resolve().parents[1]
KEPT: list[Row] = json.loads((ROOT / "results/parity.json").read_text(encoding="utf-8"))["rows"]

# Of scores from reference models: the formulas tie where float64 or a population is coarse.
OF_REFERENCES = {
    "rank correlation": (0.9999, 1),
    "difference of TPRs at 1.0% FPR": (-1e-9, 0.02),
    "difference of TPRs at 0.1% FPR": (-1e-9, 0.2),
    "members tied at the top, ours": (0, 0),
}

# By what is compared and by what measure: between which ends it must lie.
ALLOWED = {
    ("LiRA's signal", "largest difference"): (0, 1e-12),
    ("modified entropy", "largest difference"): (0, 1e-12),
    ("RMIA", "rank correlation"): (0.9999, 1),
    **{
        (f"{attack} {how}", measure): limits
        for attack in ("LiRA", "RMIA", "BASE", "BaVarIA")
        for how in ("online", "offline")
        for measure, limits in OF_REFERENCES.items()
    },
    ("ROC curve", "largest difference"): (0, 1e-12),
    ("AUC", "difference"): (0, 1e-12),
    ("thresholds per class", "difference of attack accuracies"): (0, 0.01),
    ("ε from canaries", "difference"): (0, 2e-4),  # the search stops at 1e-4
    ("ε of DP-SGD", "ours / reference"): (0.8, 1.01),
}


@pytest.fixture(scope="module")
def found() -> list[Row]:
    return quick()


@pytest.mark.deep
def test_published_formulas_agree_within_rounding(found: list[Row]) -> None:
    for each in found:
        low, high = ALLOWED[each["what"], each["measure"]]
        assert low <= each["value"] <= high + 1e-9, each


@pytest.mark.deep
def test_the_kept_figures_are_those_of_today(found: list[Row]) -> None:
    for each in found:
        (kept,) = (row for row in KEPT if same(row, each))
        assert math.isclose(each["value"], kept["value"], rel_tol=1e-4, abs_tol=1e-4)


def test_the_page_shows_the_kept_figures() -> None:
    page = (ROOT / "docs/reference-checks.md").read_text(encoding="utf-8")
    assert fill(page, KEPT) == page


def test_the_page_shows_what_was_compared_with_art() -> None:
    page = (ROOT / "docs/interop.md").read_text(encoding="utf-8")
    kept = json.loads((ROOT / "results/art.json").read_text(encoding="utf-8"))
    assert art_comparison.fill(page, kept["rows"]) == page


def same(first: Row, second: Row) -> bool:
    return all(first[key] == second[key] for key in ("what", "reference", "measure"))
