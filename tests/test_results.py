"""Committed results: each says how it was made, and its page shows what its JSON holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import overview
from selena.auditing.figure import figures_of
from selena.experiments.paper import table2
from selena.experiments.paper.figures import direct_cells
from selena.files.writing import json_text
from selena.reports.markdown import render_markdown
from selena.reports.runs import ModelRuns, Run
from selena.reports.table import accuracy_quantity

ROOT = Path(__file__).resolve().parents[1]
REPORTS = sorted((ROOT / "results").rglob("report.json"))
FILES = sorted((ROOT / "results").rglob("*.json"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "results" / "README.md").read_text(encoding="utf-8")


def table(text: str) -> list[str]:
    """The lines of a Markdown table, without the times of attacks, which a rerun may change."""
    return [re.sub(r", [\d.]+ (s|min)\)", ")", x) for x in text.splitlines() if x.startswith("| ")]


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def name(path: Path) -> str:
    return path.relative_to(ROOT / "results").as_posix()


def test_there_are_results() -> None:
    assert REPORTS


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_result_is_compact_and_cited(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text == json_text(json.loads(text))
    assert not re.search(r"/(work|tmp|home|root)/", text)
    assert f"]({name(path)})" in PAGE or f"]({name(path.with_suffix('.md'))})" in PAGE


def test_tables_of_the_page_are_those_of_the_json() -> None:
    assert overview.fill(PAGE) == PAGE
    with pytest.raises(ValueError, match="results"):
        overview.fill("nothing")


@pytest.mark.parametrize("path", REPORTS, ids=lambda p: p.parent.name)
def test_a_result_says_how_it_was_made(path: Path) -> None:
    result = read(path)
    assert result["command"].startswith(("selena run ", "selena demo"))
    assert result["settings"]
    assert result["environment"]["packages"]["torch"]
    for row in result["rows"]:
        assert isinstance(row["seed"], int)
        assert row["n"]["evaluation_members"] > 0
        for family in row["families"]:
            for figure in figures_of(row, family).values():
                assert figure.interval[0] <= figure.value <= figure.interval[1]
    for entry in result["summary"]:
        assert entry["test_accuracy"]["n"] == len(entry["seeds"])


@pytest.mark.parametrize("path", REPORTS, ids=lambda p: p.parent.name)
def test_the_page_shows_what_the_json_holds(path: Path) -> None:
    result = read(path)
    page = path.with_suffix(".md").read_text(encoding="utf-8")
    again = render_markdown(result["rows"], title="", command=result["command"])
    assert table(again) == table(page)


TABLES = sorted((ROOT / "results").glob("*/table2.json"))


@pytest.mark.parametrize("path", TABLES, ids=lambda p: p.parent.name)
def test_table_2_shows_what_its_json_holds(path: Path) -> None:
    result = read(path)
    assert result["command"].startswith("selena reproduce table2 ")
    assert result["seeds"] == sorted({row["seed"] for row in result["rows"]})
    shown = table(path.with_suffix(".md").read_text(encoding="utf-8"))[2:]
    expected = table2.lines([Run(row) for row in result["rows"]], result["reproduction"]["dataset"])
    assert len(shown) == len(expected)
    for line, cells in zip(shown, expected, strict=True):
        found = [cell.strip() for cell in line.strip("| ").split(" | ")]
        for text, cell in zip(found, cells, strict=True):
            assert text.replace("\\_", "_").startswith(cell.text)
            assert cell.spread in ("exact", "") or cell.spread in text


@pytest.mark.parametrize(
    ("folder", "document"), [("location30-ablation", "ablation"), ("reproduce-quick", "figure4")]
)
def test_a_sweep_shows_what_its_json_holds(folder: str, document: str) -> None:
    path = ROOT / "results" / folder / f"{document}.json"
    result = read(path)
    assert result["command"].startswith(f"selena reproduce {document} ")
    shown = table(path.with_suffix(".md").read_text(encoding="utf-8"))[2:]
    rows = [*result["rows"], *([result["selena"]] if document == "figure4" else [])]
    for line, row in zip(shown, rows, strict=True):
        if "direct" in row:  # schema selena-figure4/1
            found = [accuracy_quantity([row], f"{part}_accuracy") for part in ("train", "test")]
            found.append(accuracy_quantity([row["direct"]], "balanced_accuracy"))
            cells = [each.cell() for each in found]
        else:
            cells = direct_cells(ModelRuns("", (Run(row),)))
        assert line.strip("| ").split(" | ")[-3:] == [f"{c.text} ({c.spread})" for c in cells]


def test_readme_figures_are_those_of_the_results() -> None:
    shown = {line for line in table(README) if "%" not in line and re.search(r"\d\.\d", line)}
    pages = [path.with_suffix(".md") for path in (*REPORTS, *TABLES)]
    known = {line for page in pages for line in table(page.read_text(encoding="utf-8"))}
    assert shown
    assert shown <= known
