"""Hostile names stay text in every format, as a reader of the format sees them."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from rich.console import Console

from selena.files.escaping import (
    csv_cell,
    figure,
    latex,
    log_name,
    log_value,
    markdown,
    markdown_code,
    printable,
    printable_lines,
    xml,
)
from selena.reports.console import SafeConsole, literal
from tests.names import HOSTILE

ANY = st.text(st.characters(exclude_categories=())) | st.sampled_from(HOSTILE)
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]")


class Seen(HTMLParser):
    """Tags and text of some HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def render(text: str) -> Seen:
    return Seen(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))


@given(ANY)
def test_printable_text_is_one_line(text: str) -> None:
    shown = printable(text)
    assert not CONTROLS.search(shown)
    shown.encode()
    assert len(shown.splitlines()) <= 1


@given(ANY)
def test_printable_lines_keep_their_breaks(text: str) -> None:
    assert "".join(map(printable, re.split("([\t\n])", text)[::2])) == re.sub(
        "[\t\n]", "", printable_lines(text)
    )


def words(text: str) -> list[str]:
    return text.split()


@given(ANY)
def test_markdown_shows_a_name_in_a_heading(text: str) -> None:
    seen = render(f"# x{markdown(text)}x\n")
    assert seen.tags == ["h1"]
    assert words(seen.text) == words(f"x{printable(text)}x")


@given(ANY)
def test_markdown_shows_a_name_in_a_paragraph(text: str) -> None:
    seen = render(markdown(text))
    assert set(seen.tags) <= {"p"}
    assert words(seen.text) == words(printable(text))


@given(ANY)
def test_markdown_shows_a_name_in_a_cell(text: str) -> None:
    seen = render(f"| a | b |\n|---|---|\n| {markdown(text)} | y |\n")
    assert seen.tags == ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]
    assert words(seen.text) == words(f"a b {printable(text)} y")


@given(ANY)
def test_markdown_code_shows_a_name(text: str) -> None:
    seen = render(f"x {markdown_code(text)} x")
    assert seen.tags == (["p", "code"] if printable(text).strip() else seen.tags)
    assert words(seen.text) == words(f"x {printable(text)} x") or not printable(text).strip()


@given(ANY)
def test_latex_leaves_no_command(text: str) -> None:
    written = latex(text)
    rest = re.sub(r"\\text\w+\{\}|\{[][*]\}|\$\\pm\$|\\[&%$#_{}]|(?<=-)\{\}(?=-)", "", written)
    assert not set(rest) & set("\\&%$#_{}^~[]*<>|`")


@given(ANY)
def test_csv_cells_are_no_formulas(text: str) -> None:
    out = StringIO()
    csv.writer(out).writerow([csv_cell(text), "x"])
    ((cell, _),) = csv.reader(StringIO(out.getvalue()))
    assert cell.lstrip("'") == printable(text).lstrip("'")
    if cell.lstrip()[:1] in tuple("=+-@"):
        float(cell)


@pytest.mark.parametrize("number", ["-0.3", "+1", "1e-3"])
def test_csv_leaves_numbers_alone(number: str) -> None:
    assert csv_cell(number) == number


@given(ANY)
def test_xml_holds_what_xml_can(text: str) -> None:
    from xml.etree import ElementTree

    element = ElementTree.Element("a", name=xml(text))
    assert ElementTree.fromstring(ElementTree.tostring(element)).attrib["name"] == xml(text)


@given(ANY)
def test_a_terminal_is_told_nothing(text: str) -> None:
    out = StringIO()
    console = SafeConsole(file=out, width=10_000, force_terminal=True, color_system=None)
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    console.print(literal(text), soft_wrap=True)
    assert not CONTROLS.search(out.getvalue().replace("\n", ""))
    assert printable(text).strip() in out.getvalue()
    assert isinstance(console, Console)


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("name", HOSTILE)
def test_figures_draw_names(name: str) -> None:
    drawn = Figure()
    panel = drawn.subplots()
    panel.plot([1, 2], label=figure(name))
    panel.legend()
    drawn.suptitle(figure(name))
    drawn.draw_without_rendering()
    assert len(panel.get_legend_handles_labels()[1]) == 1


@given(ANY)
def test_trackers_get_short_names(text: str) -> None:
    assert re.fullmatch(r"[\w.\-/: ]*", log_name(text), re.ASCII)
    assert len(log_value(text, 20)) <= 20
