"""An audit and a reproduction of hostile names, through every output."""

from __future__ import annotations

import csv
import json
import os
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from selena.experiments.paper.document import Document, TextTable, as_csv
from selena.files.escaping import printable
from selena.reports.markdown import render_markdown
from selena.reports.results import Results
from selena.reports.runs import Run
from selena.reports.table import Cell
from selena.reports.terminal import results_text
from tests.auditing.verdicts import predictions, write_npz
from tests.files.test_escaping import CONTROLS, render
from tests.names import HOSTILE
from tests.reports.made import run
from tests.test_cli import selena

NAME = "\n".join(HOSTILE)


def is_text(text: str) -> bool:
    return not CONTROLS.search(text.replace("\n", "").replace("\t", ""))


@pytest.mark.deep
@pytest.mark.filterwarnings("ignore:Glyph")
def test_hostile_names_in_reports(tmp_path: Path) -> None:
    row = {**run().row, "defense": NAME, "dataset": NAME}
    text = render_markdown([row], title=NAME, command=f"selena --dataset {NAME}")
    seen, plain = render(text), render(render_markdown([run().row], title="T", command="c"))
    assert seen.tags == plain.tags
    assert is_text(text)
    assert is_text(results_text([row]))
    Results([Run(row)]).write_report(tmp_path, title=NAME, command=NAME)
    assert is_text((tmp_path / "report.md").read_text(encoding="utf-8"))
    json.loads((tmp_path / "report.json").read_bytes())


@pytest.mark.filterwarnings("ignore:Glyph")
def test_hostile_names_in_documents(tmp_path: Path) -> None:
    table = TextTable(("A", NAME), [[Cell(name), Cell("1")] for name in HOSTILE])
    document = Document("x", NAME, table, Figure(), [NAME], {NAME: NAME}, {})
    for path in document.write(tmp_path, NAME):
        if path.suffix in (".md", ".csv", ".tex", ".json"):
            assert is_text(path.read_text(encoding="utf-8"))
    rows = list(csv.reader(StringIO(as_csv(table))))[1:]
    assert [row[0].lstrip("'") for row in rows] == [printable(name) for name in HOSTILE]
    assert not any(row[0].startswith(tuple("=+-@")) for row in rows)


@pytest.mark.usefixtures("quick")
def test_hostile_names_in_commands(tmp_path: Path) -> None:
    name = os.fsdecode(b"\x1b[31m\n# a=`b` <b> \xff.npz")
    write_npz(tmp_path / name, predictions(200, 1.0))
    files = ("--json", "a.json", "--html", "a.html", "--junit", "a.xml", "--fail-if", "auc>0.99")
    done = selena("audit", "--predictions", name, *files, cwd=tmp_path)
    assert is_text(done.stdout + done.stderr)
    assert "\\x1b[31m\\n# a=`b` <b> \\udcff.npz" in done.stdout
    assert "\x1b" not in (tmp_path / "a.html").read_text(encoding="utf-8")
    ElementTree.parse(tmp_path / "a.xml")
    failed = selena("audit", "--predictions", f"{name}.npy", cwd=tmp_path, code=2)
    assert is_text(failed.stderr)
    assert len(failed.stderr.splitlines()) == 1
