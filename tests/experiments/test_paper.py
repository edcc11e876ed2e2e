"""The published figures are those of the paper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from selena.experiments.paper.published import TABLE_2, published, real_name

_DEFENSES = {
    "none": "undefended",
    "MemGuard": "memguard",
    "AdvReg": "adversarial_regularization",
    "SELENA": "selena",
}


@pytest.mark.parametrize(
    ("dataset", "test_accuracy", "best"),
    [("purchase100", 79.3, 54.3), ("texas100", 52.6, 55.1), ("cifar100", 74.6, 58.3)],
)
def test_what_the_published_code_states_is_exact(
    dataset: str, test_accuracy: float, best: float
) -> None:
    line = TABLE_2[dataset]["selena"]
    assert (line.test_accuracy, line.best) == (test_accuracy, best)
    exact = {name for name, value in line.to_json().items() if not value["approximate"]}
    assert exact == {"test_accuracy", "best"}


def test_other_published_rows_are_approximate() -> None:
    for lines in TABLE_2.values():
        for defense in ("undefended", "memguard", "adversarial_regularization"):
            figures = lines[defense].to_json()
            assert all(value["approximate"] for value in figures.values())
            assert "adaptive" not in figures


def test_the_best_attack_is_the_best_family() -> None:
    for lines in TABLE_2.values():
        for line in lines.values():
            assert line.best == max(line.direct, line.label_only, line.adaptive or 0)


def test_a_stand_in_gets_the_line_of_the_real_set() -> None:
    assert real_name("texas100-synthetic") == "texas100"
    assert published("texas100-synthetic") is TABLE_2["texas100"]
    assert published("digits") == {}


def test_every_figure_is_that_of_the_reference(shared: Callable[[str], Path]) -> None:
    """The whole table, read from the reference's Markdown."""
    text = shared("REFERENCE.md").read_text(encoding="utf-8")
    seen = 0
    dataset = ""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 8 or cells[1] not in _DEFENSES:
            continue
        dataset = cells[0].lower().replace("-", "") or dataset
        ours = TABLE_2[dataset][_DEFENSES[cells[1]]]
        figures = [None if cell == "–" else float(cell) for cell in cells[2:]]
        assert figures == [
            ours.train_accuracy,
            ours.test_accuracy,
            ours.direct,
            ours.label_only,
            ours.adaptive,
            ours.best,
        ]
        seen += 1
    assert seen == 12
