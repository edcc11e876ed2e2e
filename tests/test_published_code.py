"""The table beside the paper's published code: every figure in its column, and from the JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.published_code import (
    ROWS,
    Row,
    attacks_on,
    fill,
    matched_plan,
    predictions,
    read_theirs,
    shown,
    strongest_adaptive,
    table,
)
from selena import AdversarialRegularization
from selena.data.load import load
from selena.registry import build_defense
from selena.types import Dataset

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load("purchase100-synthetic", size=200)


def known(value: float) -> Row:
    return {"value": value, "interval": [value - 0.02, value + 0.03], "attack": "a/global"}


def theirs(seed: int, direct: float) -> Row:
    answered = {"on_known": known(direct - 0.1), "on_scored": {"value": direct - 0.05}}
    said = {"train_accuracy": 1.0, "test_accuracy": 0.5, "direct": direct}
    return {"row": "undefended", "seed": seed, **said, "our_attacks_on_it": answered}


def ours(direct: float) -> Row:
    found = {"on_known": known(direct), "on_scored": {"value": direct + 0.01}}
    accuracies = {"train_accuracy": 0.9, "test_accuracy": 0.6}
    return {"row": "undefended", "seed": 0, **accuracies, "families": {"direct": found}}


def test_each_figure_stands_in_its_column() -> None:
    lines = table([theirs(0, 0.8), theirs(1, 0.9)], [ours(0.7)]).splitlines()[2:]
    assert lines == [
        "| undefended | train accuracy | 2/1 | 100.0 ± 0.0 | 90.0 | – |",
        "| undefended | test accuracy | 2/1 | 50.0 ± 0.0 | 60.0 | – |",
        "| undefended | direct; the library's thresholds on the published code's models | 2/2 "
        "| 85.0 ± 7.1 | 80.0 ± 7.1 | 75.0 ± 7.1 |",
        "| undefended | direct | 2/1 | 85.0 ± 7.1 | 71.0 | 70.0 (68.0 to 73.0) |",
    ]


@pytest.mark.parametrize(
    ("values", "cell"),
    [
        ([], "–"),
        ([0.25], "25.0"),
        ([known(0.5)], "50.0 (48.0 to 53.0)"),
        ([0.1, 0.3], "20.0 ± 14.1"),
    ],
)
def test_a_cell_says_how_sure_it_is(values: list[float], cell: str) -> None:
    assert shown(values) == cell


def test_answers_keep_their_side() -> None:
    answers = np.full((10, 2), 0.5)
    found = predictions(answers, np.zeros(10, int), np.array([1, 2, 3, 4]))
    assert found.member.tolist() == [True] * 3 + [False] * 7
    assert np.flatnonzero(found.known).tolist() == [0, 3, 4, 5]


def test_adaptive_attacks_by_best_and_last_epoch() -> None:
    networks = {"difference_best": 0.6, "difference_last": 0.52}
    said = {**networks, "both_best": 0.58, "both_last": 0.57, "thresholds": [[0.5, 0.55]]}
    assert strongest_adaptive(said) == {"best": 0.6, "last": 0.57}


@pytest.mark.parametrize(
    ("row", "families"),
    [
        ("split_ai", {"direct"}),
        ("selena", {"direct", "label-only", "adaptive"}),
        ("adversarial_regularization", {"direct", "label-only"}),
    ],
)
def test_attacks_of_a_row(row: str, families: set[str], data: Dataset) -> None:
    found = attacks_on(row, matched_plan(row), data, adaptive=True)
    assert {each.family for each in found} == families


def test_the_game_is_as_long_as_the_published(data: Dataset) -> None:
    row = "adversarial_regularization"
    game = build_defense(row, matched_plan(row), data)
    assert isinstance(game, AdversarialRegularization)
    per_epoch = 2_000 // game.recipe.batch_size + 1
    assert game.recipe.epochs * per_epoch == pytest.approx(per_epoch + 29 * 30, abs=per_epoch)
    assert (game.alpha, game.warm_up_epochs, game.recipe.selection) == (3.0, 1, "last")
    assert matched_plan("undefended").training.selection == "validation"


def test_figures_of_another_epoch_are_kept(tmp_path: Path) -> None:
    place = tmp_path / "0"
    place.mkdir()
    answers = np.tile([0.9, 0.1], (4_000, 1))
    np.savez(
        place / "adversarial_regularization.npz",
        probabilities=answers,
        labels=np.zeros(4_000, int),
        sizes=np.full(4, 1_000),
    )
    said = {"direct": 0.5, "epoch_7": {"direct": 0.75}, "flips": [0.5]}
    (place / "adversarial_regularization.json").write_text(json.dumps(said))
    (found,) = read_theirs(tmp_path)
    assert (found["row"], found["epoch_7"], "flips" in found) == (
        "adversarial_regularization",
        {"direct": 0.75},
        False,
    )


def test_a_row_of_an_earlier_result_stands_in(tmp_path: Path) -> None:
    row = {**theirs(1, 0.8), "adaptive": {"best": 0.6, "last": 0.5}}
    (tmp_path / "1").mkdir()
    (tmp_path / "1/undefended.json").write_text(json.dumps(row))
    assert read_theirs(tmp_path) == [row]


def test_the_page_shows_the_kept_figures() -> None:
    kept = json.loads((ROOT / "results/published-code.json").read_text("utf-8"))
    page = (ROOT / "docs/reference-checks.md").read_text("utf-8")
    assert fill(page, kept["theirs"], kept["ours"]) == page
    for side in ("theirs", "ours"):
        assert {each["row"] for each in kept[side]} == set(ROWS)
