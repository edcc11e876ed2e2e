"""One list of cells gives Markdown, CSV and LaTeX that can be read back."""

from __future__ import annotations

import csv
import json
import re
from io import StringIO
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from selena.experiments.paper.document import Document, TextTable, as_csv, as_latex, as_markdown
from selena.reports.table import Cell

NASTY = "a_b & 50% of {x} #1 $2 ~^ \\end{table} | <b>\nnew"
TABLE = TextTable(
    ("Defense", "Test acc.", "Best"),
    [
        [Cell("none"), Cell("83.2", "82.0–84.1"), Cell("67.3")],
        [Cell(NASTY), Cell("79.3", "± 0.4"), Cell("–")],
    ],
)


def unescaped(latex: str) -> str:
    """Drop every escaped character and named command: what is left may do something."""
    return re.sub(r"\\text\w+\{\}|\{[][*]\}|-\{\}(?=-)|\\[&%$#_{}]", "", latex)


def test_csv_has_a_spread_beside_each_figure() -> None:
    rows = list(csv.DictReader(StringIO(as_csv(TABLE))))
    assert list(rows[0]) == ["defense", "test_acc", "test_acc_spread", "best"]
    assert rows[0] == {
        "defense": "none",
        "test_acc": "83.2",
        "test_acc_spread": "82.0–84.1",
        "best": "67.3",
    }
    assert rows[1]["defense"] == NASTY.replace("\n", "\\n")


def test_markdown_has_one_row_a_line() -> None:
    lines = as_markdown(TABLE).splitlines()
    assert len(lines) == 4
    for line in lines:
        assert len(re.findall(r"(?<!\\)\|", line)) == 4
    assert "| 83.2 (82.0–84.1) |" in lines[2]
    assert "| 79.3 ± 0.4 |" in lines[3]


def test_latex_has_rules_and_balanced_environments() -> None:
    text = as_latex(TABLE, caption=NASTY, notes=NASTY)
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) == 1
    begun = re.findall(r"\\begin\{([\w*]+)\}", unescaped(text))
    assert begun == ["table*", "tabular"]
    assert begun == list(reversed(re.findall(r"\\end\{([\w*]+)\}", unescaped(text))))
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 2
    assert all(len(re.findall(r"(?<!\\)&", row)) == 2 for row in rows)


@given(st.text())
def test_no_text_escapes_from_latex(text: str) -> None:
    table = TextTable(("A", "B", "C"), [[Cell(text), Cell("1"), Cell("2")]])
    written = unescaped(as_latex(table, caption=text, notes=text))
    left = unescaped(
        as_latex(TextTable(table.titles, [[Cell("x"), Cell("1"), Cell("2")]]), caption="x")
    )
    for character in "%#^~&{}":
        assert written.count(character) == left.count(character)


def test_documents_of_equal_content_have_equal_bytes(tmp_path: Path) -> None:
    def write(folder: Path) -> dict[str, bytes]:
        figure = Figure()
        figure.subplots().plot([1, 2])
        document = Document("x", NASTY, TABLE, figure, ["A note."], {"seed": 1}, {"rows": []})
        return {path.name: path.read_bytes() for path in document.write(folder, "selena x\ny")}

    first = write(tmp_path / "a")
    assert sorted(first) == [f"x.{suffix}" for suffix in ("csv", "json", "md", "pdf", "png", "tex")]
    assert first == write(tmp_path / "b")
    assert json.loads(first["x.json"]) == {"rows": []}
    assert r"Command: `selena x\ny`" in first["x.md"].decode()
