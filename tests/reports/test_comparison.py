"""Audits beside each other: what is printed and written is what the audits say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

import selena
from selena.attacks.signal_attack import ThresholdAttack
from selena.auditing.report import AuditReport
from selena.auditing.run import run_audit
from selena.data.load import load_digits
from selena.errors import ConfigError, DataError
from selena.reports.table import percent
from selena.types import Family
from tests.reports.made import predictions, report


class LabelOnly(ThresholdAttack):
    """A signal that is listed under another family."""

    family: ClassVar[Family] = "label-only"


def attacked_as_label_only(leak: float) -> AuditReport:
    table = predictions(leak)
    return run_audit(table, table.split(), [LabelOnly("correctness")], seed=0)


def test_the_table_has_a_line_a_model_with_its_figures() -> None:
    audits = {"bare": report(1.5), "protected": report(0.0)}
    lines = str(selena.compare(audits)).splitlines()
    for name, audit in audits.items():
        (line,) = [
            line for line in lines if line.startswith(f"{name} ") and " against " not in line
        ]
        summary = audit.best("direct").figures.summary
        assert percent(audit.test_accuracy.value) in line.split()
        assert percent(summary.balanced_accuracy) in line.split()
    assert not any("synthetic" in line for line in lines)


def test_names_are_text_and_no_markup() -> None:
    assert str(selena.compare({"[red]mine[/]": report(0.0)})).count("[red]mine[/]") == 1


def test_several_seeds_stand_under_one_name() -> None:
    seeds = {seed: report(1.5, seed=seed) for seed in (3, 4)}
    comparison = selena.compare({"bare": seeds, "protected": report(0.0)})
    assert [(row["defense"], row["seed"]) for row in comparison.rows] == [
        ("bare", 3),
        ("bare", 4),
        ("protected", 0),
    ]
    assert "2 seeds" in str(comparison)
    assert "standard deviation over seeds" in str(comparison)


def test_data_set_has_name_and_synthetic_flag() -> None:
    digits = load_digits()
    (row,) = selena.compare({"bare": report(0.0)}, data=digits).rows
    assert (row["dataset"], row["synthetic"]) == ("digits", False)
    comparison = selena.compare({"bare": report(0.0)}, data=replace(digits, synthetic=True))
    assert "The data are synthetic" in str(comparison)


def test_the_page_holds_both_models_and_their_scores(tmp_path: Path) -> None:
    comparison = selena.compare({"bare": report(1.5), "protected": report(0.0)}, data="toys")
    path = comparison.write_page(str(tmp_path / "new" / "page.html"), title="My title")
    page = path.read_text(encoding="utf-8")
    assert "<title>My title</title>" in page
    assert "members are found in bare and" in page
    assert "Absent" not in page


@pytest.mark.deep
def test_the_report_has_four_files(tmp_path: Path) -> None:
    comparison = selena.compare({"bare": report(1.5), "protected": report(0.0)})
    paths = comparison.write_report(tmp_path / "report")
    assert [path.name for path in paths] == [
        "report.json",
        "report.md",
        "report.png",
        "report.html",
    ]
    assert all(path.stat().st_size for path in paths)
    written: dict[str, Any] = json.loads(paths[0].read_text())
    assert written["schema"] == "selena-run/2"
    assert written["rows"] == json.loads(json.dumps(comparison.rows))
    text = paths[1].read_text()
    assert "| protected |" in text
    assert "Command" not in text


@pytest.mark.usefixtures("undrawn")
def test_models_may_be_attacked_by_different_families(tmp_path: Path) -> None:
    audits = {"bare": report(1.5), "other": attacked_as_label_only(0.5)}
    comparison = selena.compare(audits)
    assert "label-only: correctness" in str(comparison)
    assert all(path.is_file() for path in comparison.write_report(tmp_path))


def test_seeds_of_one_model_may_not() -> None:
    seeds = {0: report(1.5), 1: attacked_as_label_only(1.5)}
    with pytest.raises(DataError, match="'bare' differ in their attacks"):
        selena.compare({"bare": seeds})


@pytest.mark.usefixtures("unchecked")
def test_audits_without_names_are_an_error() -> None:
    with pytest.raises(ConfigError, match="give each a name"):
        selena.compare([report(0.0)])  # type: ignore[arg-type]


@pytest.mark.parametrize("audits", [{}, {"bare": {}}])
def test_nothing_to_compare_is_an_error(audits: dict[str, dict[int, AuditReport]]) -> None:
    with pytest.raises(DataError, match="at least one audit"):
        selena.compare(audits)
