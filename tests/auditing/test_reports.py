"""Tables, Markdown and figures say what the rows say."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes

from selena.auditing.figures import draw_report
from selena.auditing.markdown import render_markdown
from selena.auditing.table import summarize_rows, table_cells


def row(defense: str = "selena", seed: int = 0, accuracy: float = 0.8) -> dict[str, Any]:
    point = {
        "tpr": 0.05,
        "interval": [0.02, 0.09],
        "resolved": True,
        "needed_non_members": 100,
    }
    best = {
        "attack": "modified_entropy/per_class",
        "access": "logits",
        "queries_per_record": 1.0,
        "balanced_accuracy": 0.6,
        "balanced_accuracy_interval": [0.55, 0.65],
        "auc": 0.62,
        "auc_interval": [0.57, 0.67],
        "tpr_at_fpr": {"0.01": point},
        "members": 100,
        "non_members": 100,
        "roc": {"fpr": [0.0, 0.5, 1.0], "tpr": [0.0, 0.7, 1.0]},
        "histogram": {
            "edges": [0.0, 1.0, 2.0],
            "axis": "score",
            "members": [0.4, 0.6],
            "non_members": [0.7, 0.3],
        },
    }
    return {
        "defense": defense,
        "seed": seed,
        "synthetic": False,
        "selected_on_evaluation": False,
        "train_accuracy": 1.0,
        "train_accuracy_interval": [0.99, 1.0],
        "test_accuracy": accuracy,
        "test_accuracy_interval": [accuracy - 0.02, accuracy + 0.02],
        "n": {
            "known_members": 90,
            "known_non_members": 90,
            "evaluation_members": 100,
            "evaluation_non_members": 100,
        },
        "best": {"direct": best, "label-only": copy.deepcopy(best)},
    }


def texts(rows: list[dict[str, Any]], seconds: dict[str, float] | None = None) -> list[list[str]]:
    return [[f"{c.text} {c.spread}".strip() for c in line] for line in table_cells(rows, seconds)]


def test_one_seed_shows_intervals_and_one_line_a_family() -> None:
    first, second = texts([row()], {"selena/direct": 90.0})
    assert first == [
        "selena",
        "100.0 99.0–100.0",
        "80.0 78.0–82.0",
        "direct: modified entropy, per class 1 query, 1.5 min",
        "60.0 55.0–65.0",
        "62.0 57.0–67.0",
        "5.0 2.0–9.0",
    ]
    assert second[:4] == ["", "", "", "label-only: modified entropy, per class 1 query"]


def test_an_attack_that_needs_gradients_says_so() -> None:
    white_box = row()
    white_box["best"]["label-only"] |= {"attack": "boundary/global", "access": "gradient"}
    assert texts([white_box])[1][3] == "label-only: boundary, global (white-box) 1 query"


def test_several_seeds_show_mean_and_deviation() -> None:
    (line, _) = texts([row(seed=0, accuracy=0.8), row(seed=1, accuracy=0.9)])
    assert line[0] == "selena 2 seeds"
    assert line[2] == "85.0 ± 7.1"
    (entry,) = summarize_rows([row(seed=0, accuracy=0.8), row(seed=1, accuracy=0.9)])
    assert entry["test_accuracy"]["mean"] == pytest.approx(0.85)
    assert entry["test_accuracy"]["standard_deviation"] == pytest.approx(0.0707, abs=1e-4)
    assert entry["seeds"] == [0, 1]


def test_what_cannot_be_resolved_is_not_shown_as_a_figure() -> None:
    unresolved = row()
    unresolved["best"]["direct"]["tpr_at_fpr"]["0.01"]["resolved"] = False
    assert texts([unresolved])[0][-1] == "unresolved needs 100 non-members"


def test_markdown_flags_synthetic_data_and_leaking_selection() -> None:
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


def test_figures_of_models_that_were_attacked_by_different_families(tmp_path: Path) -> None:
    fewer = row("mine")
    del fewer["best"]["direct"]
    draw_report([fewer, row()], tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


def test_long_titles_of_figures_take_two_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []
    draw = Axes.set_title

    def remember(axes: Axes, label: str, **how: object) -> object:
        titles.append(label)
        return draw(axes, label, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Axes, "set_title", remember)
    draw_report([row("adversarial_regularization"), row("selena")], tmp_path / "figure.png")
    assert any(title.startswith("adversarial_regularization: ") for title in titles)
    assert max(len(line) for title in titles for line in title.splitlines()) <= 40


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_figures_are_drawn_in_every_format(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"figure.{suffix}"
    draw_report([row("undefended"), row("selena"), row("selena", seed=1)], path)
    assert path.stat().st_size > 5000
    assert list(tmp_path.iterdir()) == [path]


def test_of_several_seeds_the_figure_shows_the_lowest_and_the_page_says_so(tmp_path: Path) -> None:
    other, lowest = row(seed=7), row(seed=2)
    other["best"]["direct"]["balanced_accuracy"] = 0.9
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
