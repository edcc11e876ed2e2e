"""Tables, Markdown and figures say what the rows say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes

from selena.auditing.report import AuditReport
from selena.auditing.results import AttackResult
from selena.auditing.scoring import Scored
from selena.reports.figures import draw_report
from selena.reports.markdown import render_markdown
from selena.reports.results import Results
from selena.reports.runs import run_of_audit
from selena.reports.table import FEW, AttackSeconds, summarize_rows, table_cells
from tests.auditing.synthetic import attack, levels, report

LEAK = levels([0, 400, 550, 50], [0, 600, 395, 5])
STRONGER = levels([0, 100, 850, 50], [0, 900, 95, 5])
FEW_RECORDS = levels([0, 40, 55, 5], [0, 60, 39, 1])


def audit(scores: Scored = LEAK, accuracy: float = 0.8) -> AuditReport:
    boundary = attack("boundary", scores, family="label-only", access="label")
    return report(attack("modified_entropy", scores), boundary, test=accuracy)


def row(
    defense: str = "selena", seed: int = 0, accuracy: float = 0.8, scores: Scored = LEAK
) -> dict[str, Any]:
    return row_of(
        *audit(scores, accuracy).attacks.values(), defense=defense, seed=seed, test=accuracy
    )


def one_family(defense: str = "selena", seed: int = 0, scores: Scored = LEAK) -> dict[str, Any]:
    """A row whose figure has two panels only: drawing takes most of a test's time."""
    return row_of(attack("modified_entropy", scores), defense=defense, seed=seed)


def row_of(
    *attacks: AttackResult, defense: str = "selena", seed: int = 0, test: float = 0.8
) -> dict[str, Any]:
    return run_of_audit(report(*attacks, test=test), name=defense, seed=seed).row


def texts(rows: list[dict[str, Any]], seconds: AttackSeconds | None = None) -> list[list[str]]:
    return [[f"{c.text} {c.spread}".strip() for c in line] for line in table_cells(rows, seconds)]


def test_one_seed_shows_intervals_per_family() -> None:
    first, second = texts([row()], {("selena", 0): {"modified_entropy": 90.0}})
    assert first == [
        "selena",
        "100.0 99.6–100.0",
        "80.0 77.4–82.4",
        "direct: modified entropy, global 1 query, 1.5 min",
        "60.0 57.8–62.1",
        "60.9 58.7–63.0",
        "5.0 0.0–6.5",
    ]
    assert second[:4] == ["", "", "", "label-only: boundary, global 1 query"]


def test_time_is_that_of_the_named_attack() -> None:
    """Other attacks of its family take longer; seeds may name different ones."""
    one, other = attack("one", STRONGER), attack("other", LEAK)
    swapped = attack("one", LEAK), attack("other", STRONGER)
    rows = [row_of(one, other), row_of(*swapped, seed=1)]
    seconds = {
        ("selena", 0): {"one": 1.0, "other": 3600.0},
        ("selena", 1): {"one": 3600.0, "other": 2.0},
    }
    assert texts(rows[:1], seconds)[0][3] == "direct: one, global 1 query, 1.0 s"
    assert texts(rows, seconds)[0][3] == "direct: one, global (or 1 other) 1 query, 1.5 s"
    assert texts(rows, {})[0][3] == "direct: one, global (or 1 other) 1 query"
    page = render_markdown(rows, title="T", command="c", seconds=seconds)
    assert "(1 query, 1.5 s)" in page
    assert "A time is that of the named attack alone" in page
    assert "A time is" not in render_markdown(rows, title="T", command="c", seconds={})


def test_results_know_times_by_attack() -> None:
    run = run_of_audit(report(attack("one", LEAK)), name="selena", seed=2)
    timings = {"made": {"train_seconds": 5.0, "attack_seconds": {"one": 1.5}}}
    assert Results([run]).attack_seconds == {}
    kept = Results([run], timings=timings, folders=[Path("runs/made")])
    assert kept.attack_seconds == {("selena", 2): {"one": 1.5}}


def test_an_attack_that_needs_gradients_says_so() -> None:
    white_box = row_of(attack("gradients", LEAK, access="gradient"))
    assert texts([white_box])[0][3] == "direct: gradients, global (white-box) 1 query"


def test_several_seeds_show_mean_and_deviation() -> None:
    (line, _) = texts([row(seed=0, accuracy=0.8), row(seed=1, accuracy=0.9)])
    assert line[0] == "selena 2 seeds"
    assert line[2] == "85.0 ± 7.1"
    (entry,) = summarize_rows([row(seed=0, accuracy=0.8), row(seed=1, accuracy=0.9)])
    assert entry["test_accuracy"]["mean"] == pytest.approx(0.85)
    assert entry["test_accuracy"]["standard_deviation"] == pytest.approx(0.0707, abs=1e-4)
    assert entry["seeds"] == [0, 1]


def test_a_tpr_of_few_false_positives_is_marked() -> None:
    few = row(scores=FEW_RECORDS)
    assert texts([few])[0][-1] == f"5.0 {FEW} 0.0–11.2"
    markdown = render_markdown([few], title="T", command="c")
    assert f"| 5.0 {FEW} (0.0–11.2) |" in markdown
    assert "1,000 non-members would resolve this rate" in markdown
    assert FEW not in render_markdown([row()], title="T", command="c")
    # One seed of few is enough to mark a mean.
    assert texts([row(), row(seed=1, scores=FEW_RECORDS)])[0][-1].startswith(f"5.0 {FEW} ±")


def test_a_figure_of_another_attack_names_it() -> None:
    """One attack decides best, another finds more at a low FPR."""
    deciding = attack("deciding", levels([300, 700, 0], [700, 300, 0]))
    sharp = attack("sharp", levels([450, 400, 150], [550, 450, 0]))
    (line,) = table_cells([row_of(deciding, sharp)])
    assert line[3].text == "direct: deciding, global"
    assert [cell.by for cell in line[4:]] == ["", "", "sharp"]
    assert (line[4].text, line[6].text) == ("70.0", "15.0")
    assert "15.0 (12.9–17.3) by sharp |" in render_markdown(
        [row_of(deciding, sharp)], title="T", command="c"
    )


def test_markdown_flags_synthetic_data_and_selection() -> None:
    plain = render_markdown([row()], title="T", command="selena run")
    assert "synthetic" not in plain
    assert "evaluation data" not in plain
    flagged = row()
    flagged |= {"synthetic": True, "selected_on_evaluation": True}
    text = render_markdown([flagged], title="T", command="selena run", figure="f.png")
    assert "**The data are synthetic**" in text
    assert "**Weights were selected on evaluation data**" in text
    assert "](f.png)" in text


def test_names_cannot_break_the_markdown_table() -> None:
    lines = render_markdown([row("a|b<script>")], title="T", command="c").splitlines()
    (line,) = [line for line in lines if "script" in line]
    assert "a\\|b&lt;script&gt;" in line
    assert line.replace("\\|", "").count("|") == 8


def test_titles_cannot_break_the_markdown() -> None:
    first = render_markdown([row()], title="a<script>.csv", command="c").splitlines()[0]
    assert first == "# a&lt;script&gt;.csv"


def test_a_report_that_no_command_wrote_names_none() -> None:
    assert render_markdown([row(seed=7)], title="T", command="").endswith("\nSeed 7.\n")
    text = render_markdown([row(), row(seed=1)], title="T", command="c")
    assert text.endswith("\nCommand: `c`; seeds 0, 1.\n")


@pytest.mark.deep
def test_models_attacked_by_different_families(tmp_path: Path) -> None:
    fewer = row_of(attack("boundary", LEAK, family="label-only"), defense="mine")
    draw_report([fewer, row()], tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


@pytest.mark.deep
def test_long_titles_of_figures_take_two_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []
    draw = Axes.set_title

    def remember(axes: Axes, label: str, **how: object) -> object:
        titles.append(label)
        return draw(axes, label, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Axes, "set_title", remember)
    draw_report([one_family("adversarial_regularization")], tmp_path / "figure.png")
    assert any(title.startswith("adversarial_regularization: ") for title in titles)
    assert max(len(line) for title in titles for line in title.splitlines()) <= 40


@pytest.mark.deep
@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_figures_are_drawn_in_every_format(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"figure.{suffix}"
    draw_report([one_family(), one_family(seed=1)], path)
    assert path.stat().st_size > 5000
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.deep
def test_figure_of_seeds_shows_the_lowest_and_says_so(tmp_path: Path) -> None:
    other, lowest = one_family(seed=7, scores=STRONGER), one_family(seed=2)
    figures = [tmp_path / f"{i}.svg" for i in range(2)]
    draw_report([other, lowest], figures[0])
    draw_report([lowest], figures[1])
    both, alone = (svg_paths(path) for path in figures)
    assert both == alone
    assert "lowest seed" in render_markdown([other, lowest], title="", command="", figure="0.svg")
    assert "lowest seed" not in render_markdown([lowest], title="", command="", figure="1.svg")


def svg_paths(path: Path) -> list[str]:
    """Return every line and letter of a figure, without the ids that differ from one to another."""
    text = re.sub(r'(id|href|clip-path)="[^"]*"', "", path.read_text(encoding="utf-8"))
    return re.findall(r"<(?:path|use) [^>]*>", text)
