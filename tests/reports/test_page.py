"""The page as a file: whole, safe from the names in it, and true to its rows."""

from __future__ import annotations

import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from selena.auditing.scoring import Scored
from selena.errors import DataError
from selena.experiments.results import read_results
from selena.experiments.store import RunFolder
from selena.files.escaping import printable
from selena.reports.page.render import render_page
from selena.reports.results import Results
from selena.reports.runs import Run, run_of_audit
from selena.workspace import Workspace
from tests.auditing.synthetic import attack, levels
from tests.auditing.synthetic import report as made_report
from tests.reports.made import HOSTILE, TODAY, folder, plain, report, run, runs

LEAK = levels([40, 40, 20], [55, 45, 0])
SECTIONS = ["summary", "attacks", "tradeoff", "roc", "scores", "classes", "exposed", "limits"]


class Reader(HTMLParser):
    """Collects tags with their attributes, the text, and each script's content."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        {"script": self.scripts, "style": self.styles}.get(self._inside, self.text).append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def headings(reader: Reader) -> list[str]:
    return [str(attrs["id"]) for tag, attrs in reader.tags if tag == "h2"]


def shape(reader: Reader) -> Counter[tuple[str, ...]]:
    """Count the tags, each with the names of its attributes."""
    return Counter((tag, *sorted(attrs)) for tag, attrs in reader.tags)


def words(reader: Reader) -> str:
    return re.sub(r"\s+", " ", "".join(reader.text))


@pytest.fixture(scope="module")
def page() -> Reader:
    return read(render_page(runs(), title="Toys", command="selena run"))


def test_the_top_says_what_was_audited(page: Reader) -> None:
    """The same hashes as in the report: a page is bound to what it is about."""
    inputs = [each.report.inputs for each in runs() if each.report is not None]
    (records,) = {each["records"] for each in inputs}
    text = words(page)
    assert records in text
    assert len({each["model"] for each in inputs}) == 2
    assert all(each["model"][:16] in text for each in inputs)
    n = run().row["n"]
    scored = f"{n['evaluation_members']:,} members and {n['evaluation_non_members']:,} non-members"
    assert text.index(scored) < text.index("In plain words")
    assert text.index("Page written") < text.index("In plain words")
    assert "2026-01-31" in words(read(render_page([run()], title="T", date=TODAY)))


@pytest.mark.parametrize(
    ("scores", "level", "words_of_it"),
    [
        (levels([10, 90], [90, 10]), "severe", "Severe leak"),
        (levels([25, 25], [25, 25]), "too-few-records", "Too few records to tell"),
        (levels([1000, 1000], [1000, 1000]), "none-shown", "No leak shown"),
    ],
)
def test_a_card_has_the_class_of_its_level(scores: Scored, level: str, words_of_it: str) -> None:
    reader = read(render_page([run_of_audit(made_report(attack("a", scores)))], title="T"))
    assert ("article", {"class": f"card level-{level}"}) in reader.tags
    assert words_of_it in reader.text


def test_every_section_is_there(page: Reader) -> None:
    assert headings(page) == [*SECTIONS, "method"]
    drawn = [attrs["data-figure"] for _, attrs in page.tags if "data-figure" in attrs]
    assert drawn == ["tradeoff-0", "roc-0", "scores-0", "scores-1", "classes-0", "classes-1"]
    assert sorted(json.loads(page.scripts[0])) == sorted(map(str, drawn))


def test_the_page_loads_nothing(page: Reader) -> None:
    for tag, attrs in page.tags:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base")
        assert not {"src", "href", "srcset", "action"} & set(attrs)
    style = "".join(page.styles)
    assert "url(" not in style
    assert "@import" not in style
    data, own = page.scripts
    assert "http" not in data + own + style
    (policy,) = [a["content"] for t, a in page.tags if a.get("http-equiv")]
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_a_page_fits_into_a_mail() -> None:
    """The largest curves that are kept make a page of at most 1.5 MB."""
    many = runs((0,))
    for each in many:
        for roc in (family["roc"] for family in each.row["families"].values()):
            assert len(roc["fpr"]) <= 2000
    assert len(render_page(many, title="T").encode()) < 300_000


def test_charts_are_drawn_without_a_script(page: Reader) -> None:
    assert len(page.scripts) == 2
    classes = Counter(str(attrs.get("class")) for _, attrs in page.tags)
    assert classes["drawing"] == 6
    # Two curves with their bands; two sides of two models; points of classes and of defenses.
    assert classes["band"] == 2
    assert classes["series"] == 2 + 2 + 4 + 2
    assert classes["bar"] > 40


def test_names_are_shown_and_never_run() -> None:
    def named(name: str) -> Reader:
        found = made_report(attack(name, LEAK, canaries=LEAK))
        row = plain(run_of_audit(found, name=name, dataset=name).row)
        row["attacks"][name]["settings"] = {name: name}
        row["inputs"] = {"records": name, "model": name}
        page = render_page([Run(row, found)], title=name, command=name, environment={name: "x"})
        return read(page)

    reader, ordinary = named(HOSTILE), named("name")
    # What a name could add to the page would be a tag or an attribute more.
    assert shape(reader) == shape(ordinary)
    assert printable(HOSTILE) in "".join(reader.text)
    assert len(reader.scripts) == 2


def test_readings_of_figures_hold_no_names() -> None:
    reader = read(render_page([run(HOSTILE), run("other", 0.0)], title="T"))
    raw = reader.scripts[0]
    assert raw.isascii()
    assert not set("<>&") & set(raw)
    # Names are text of the page: what the pointer reads holds none.
    assert "onerror" not in raw
    assert printable(HOSTILE) in reader.text


def test_the_same_input_gives_the_same_bytes() -> None:
    first, second = (render_page(runs((0, 1)), title="T", command="c") for _ in range(2))
    assert first == second


def test_rows_alone_make_a_page_with_gaps_named() -> None:
    reader = read(render_page([Run(each.row) for each in runs()], title="T"))
    assert headings(reader) == [*SECTIONS, "method"]
    assert words(reader).count("Absent: the scores behind the figures are not at hand.") == 2
    assert not any(name.startswith("classes") for name in json.loads(reader.scripts[0]))


def test_rows_without_attacks_make_a_page() -> None:
    reader = read(render_page([run_of_audit(made_report())], title="T"))
    assert "No attack was run." in words(reader)
    assert ("article", {"class": "card level-not-attacked"}) in reader.tags
    assert headings(reader) == ["summary", "attacks", "limits", "method"]
    assert json.loads(reader.scripts[0]) == {}


def test_a_defense_that_was_attacked_by_fewer_families() -> None:
    both = made_report(attack("a", LEAK), attack("b", LEAK, family="label-only"))
    page = render_page(
        [run_of_audit(both, name="undefended", dataset="toy"), run("selena", 0.0)], title="T"
    )
    figures = json.loads(read(page).scripts[0])
    assert [len(figures[name]) for name in ("roc-0", "roc-1")] == [2, 1]
    text = words(read(page))
    assert "Not tried: reference-model (LiRA, RMIA), adaptive or label-only attacks" in text
    assert "Not tried: reference-model (LiRA, RMIA) or adaptive attacks" in text


def test_synthetic_data_and_leaking_selection_are_said() -> None:
    assert "synthetic" not in words(read(render_page([run()], title="T")))
    row = plain(run().row) | {"synthetic": True, "selected_on_evaluation": True}
    text = words(read(render_page([Run(row)], title="T")))
    assert "The data are synthetic: no real person" in text
    assert "Weights were selected on evaluation data" in text


def test_no_runs_are_an_error() -> None:
    with pytest.raises(DataError, match="at least one run"):
        render_page([], title="T")


def results(*folders: RunFolder) -> Results:
    return read_results([each.path for each in folders])


def test_run_folders_bring_their_scores_and_settings(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    both = folder(tmp_path / "a"), folder(tmp_path / "b", 0.0, name="selena")
    results(*both).write_page(path, title="T", command="selena report a b")
    reader = read(path.read_text(encoding="utf-8"))
    text = words(reader)
    assert "Absent" not in text
    assert "members are found in undefended and" in text
    assert "toy: made up" in text
    assert "selena report a b" in text
    assert sum(tag == "details" for tag, _ in reader.tags) == 2 + 2 + 1 + 1


def test_a_page_shows_the_scores_of_the_audit(tmp_path: Path) -> None:
    made = folder(tmp_path / "run")
    (right,) = [report(1.5).best("direct").result.scores]
    # Scores of the same names, as an earlier version of the code left them.
    for file in sorted(made.scores_folder.iterdir()):
        name = file.stem.rsplit("-", 1)[0]
        tensors = Workspace(folder=file.parent).load(file.stem)
        assert tensors is not None
        tensors["evaluation/scores"] = -tensors["evaluation/scores"]
        Workspace(folder=file.parent).save(f"{name}-{'0' * 24}", tensors)
    (kept,) = results(made).runs
    assert kept.report is not None
    found = kept.report.best("direct").result.scores.evaluation
    assert found.scores.tolist() == right.evaluation.scores.tolist()


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return [number for each in inner for number in numbers(each)]
    return [value] if isinstance(value, float) else []


def test_charts_have_theme_colors_and_finite_numbers(page: Reader) -> None:
    """Colors come from the theme, or a chart is not readable in the dark."""
    inks = [
        re.fullmatch(r"--ink: var\(--([\w-]+)\)", str(a["style"]))
        for _, a in page.tags
        if "style" in a
    ]
    known = set(re.findall(r"--([\w-]+):", "".join(page.styles)))
    assert inks
    assert all(ink is not None and ink[1] in known for ink in inks)
    assert all(abs(number) < 1e3 for number in numbers(json.loads(page.scripts[0])))
    paths = " ".join(str(attrs["d"]) for tag, attrs in page.tags if tag == "path")
    assert "nan" not in paths
    assert "inf" not in paths
