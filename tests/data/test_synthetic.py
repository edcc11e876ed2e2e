from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from selena.data import data_digest, long_tail, purchase, texas
from selena.data.long_tail import CHUNK, LongTail
from selena.data.synthetic import PURCHASE100, TEXAS100, StandIn
from selena.errors import ConfigError

SMALL = LongTail(classes=5, items=40, subpopulations=20)


@pytest.mark.parametrize("m", [1, 100, CHUNK - 1, CHUNK, CHUNK + 1])
def test_first_records_do_not_depend_on_size(m: int) -> None:
    x, y = SMALL.generate(2 * CHUNK + 7, seed=0)
    fewer_x, fewer_y = SMALL.generate(m, seed=0)
    assert np.array_equal(fewer_x, x[:m])
    assert np.array_equal(fewer_y, y[:m])


def test_seed_decides() -> None:
    x, y = SMALL.generate(500, seed=1)
    again_x, again_y = SMALL.generate(500, seed=1)
    other_x, _ = SMALL.generate(500, seed=2)
    assert np.array_equal(x, again_x)
    assert np.array_equal(y, again_y)
    assert not np.array_equal(x, other_x)


def test_chunks_differ() -> None:
    x, _ = SMALL.generate(2 * CHUNK, seed=0)
    assert not np.array_equal(x[:CHUNK], x[CHUNK:])


def test_types_and_values() -> None:
    x, y = SMALL.generate(1_000, seed=0)
    assert x.shape == (1_000, 40)
    assert (x.dtype.name, y.dtype.name) == ("uint8", "int64")
    assert set(np.unique(x)) == {0, 1}
    assert set(np.unique(y)) == set(range(5))


def test_without_noise_a_record_is_its_prototype() -> None:
    mixture = LongTail(classes=3, items=60, subpopulations=4, noise_scale=0.0)
    x, y = mixture.generate(2_000, seed=0)
    baskets = np.unique(np.column_stack([y, x]), axis=0)
    assert len(baskets) == 3 * 4
    noisy, _ = LongTail(classes=3, items=60, subpopulations=4).generate(2_000, seed=0)
    assert len(np.unique(noisy, axis=0)) > 1_000


def test_noise_is_as_strong_as_it_says() -> None:
    # One kind of customer a class and every item a fair coin: a record differs from the basket
    # in an item with probability noise / 2, on average noise_scale / 4.
    shape: dict[str, Any] = {"classes": 2, "items": 200, "subpopulations": 1}
    coin = shape | {"popularity_a": 1e6, "popularity_b": 1e6}
    basket, y = LongTail(**coin, noise_scale=0.0).generate(4_000, seed=0)
    record, same = LongTail(**coin, noise_scale=0.8).generate(4_000, seed=0)
    assert np.array_equal(y, same)
    assert (record != basket).mean() == pytest.approx(0.2, abs=0.01)


def test_redraw_moves_sub_populations_away() -> None:
    def kinds(redraw: float) -> int:
        mixture = LongTail(classes=2, items=60, subpopulations=10, noise_scale=0.0, redraw=redraw)
        return len(np.unique(mixture.generate(4_000, seed=0)[0], axis=0))

    assert kinds(0.0) == 2
    assert kinds(0.78) == 20


def test_zipf_weights_make_a_long_tail() -> None:
    mixture = LongTail(classes=2, items=60, subpopulations=50, noise_scale=0.0, zipf=1.2)
    _, counts = np.unique(mixture.generate(8_000, seed=0)[0], axis=0, return_counts=True)
    weights = np.arange(1, 51) ** -1.2
    assert counts.max() / 8_000 == pytest.approx(0.5 * weights[0] / weights.sum(), rel=0.5)
    assert counts.min() < 0.05 * counts.max()


@pytest.mark.parametrize(
    "wrong",
    [
        {"classes": 1},
        {"items": 0},
        {"subpopulations": 0},
        {"class_concentration": 0.0},
        {"popularity_a": -1.0},
        {"popularity_b": float("nan")},
        {"redraw": 1.1},
        {"noise_scale": -0.1},
        {"noise_scale": float("nan")},
        {"label_noise": 1.5},
        {"zipf": -1.0},
    ],
)
def test_parameters_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        LongTail(**wrong)


def test_at_least_one_record() -> None:
    with pytest.raises(ConfigError, match="not 0"):
        SMALL.generate(0, seed=0)


def test_label_noise_changes_labels_and_nothing_else() -> None:
    x, y = SMALL.generate(8_000, seed=0)
    same, noisy = replace(SMALL, label_noise=0.5).generate(8_000, seed=0)
    assert np.array_equal(x, same)
    # A redrawn label may be the same class again.
    again = (np.bincount(y) / len(y)) @ (np.bincount(y) / len(y))
    assert (noisy != y).mean() == pytest.approx(0.5 * (1 - again), abs=0.03)


@pytest.mark.parametrize("items", [40, 41])
def test_draws_do_not_depend_on_the_chunk_size(monkeypatch: pytest.MonkeyPatch, items: int) -> None:
    mixture = replace(SMALL, items=items)
    x, _ = mixture.generate(500, seed=0)
    monkeypatch.setattr(long_tail, "_ROWS", 7)
    assert np.array_equal(mixture.generate(500, seed=0)[0], x)


def digest(stand_in: StandIn, size: int) -> str:
    return data_digest(stand_in.load(size).records)


def test_published_sets_stay_what_they_are() -> None:
    # Figures that were measured on a set mean nothing for another one.
    assert digest(PURCHASE100, 300) == (
        "253d8b140a94c981805df458cf0fa4407f46befdd2d821bd954e17e1309d8b0c"
    )
    few = replace(TEXAS100, mixture=replace(TEXAS100.mixture, subpopulations=20))
    assert digest(few, 300) == ("0435c6d465d0ce1553744f278ed9a3ee845d65e71d05e4f41adeacbf55db6048")


def test_published_set() -> None:
    dataset = PURCHASE100.load(3_000)
    assert dataset.synthetic
    assert "synthetic" in dataset.source
    assert (dataset.num_classes, dataset.recipe, dataset.features) == (100, "purchase100", "binary")
    assert tuple(dataset.records.x.shape) == (3_000, 600)
    assert dataset.n_members == 1_500
    assert dataset.records.ids.tolist() == list(range(3_000))


def test_default_members_are_the_papers_where_they_fit() -> None:
    few = replace(PURCHASE100, members=1_000, mixture=replace(SMALL, classes=100))
    assert few.load(5_000).n_members == 1_000
    assert few.load(1_500).n_members == 750


def test_sizes_are_those_of_the_real_sets() -> None:
    for stand_in, real in [(PURCHASE100, purchase.PURCHASE100), (TEXAS100, texas.TEXAS100)]:
        assert stand_in.recipe == real.name
        assert (stand_in.records, stand_in.members) == (real.records, real.members)
        assert stand_in.mixture.items == real.width
        assert stand_in.mixture.classes == real.num_classes
