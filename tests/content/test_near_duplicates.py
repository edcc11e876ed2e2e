"""Near copies: found by gaps among distances, by a threshold, and joined up to a limit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from selena.content import near_duplicates, neighbours
from selena.content.near_duplicates import (
    LARGEST,
    MOST_COPIES,
    check_near_duplicates,
    find_near_duplicates,
    gap_limit,
    join_near,
    join_units,
)
from selena.data.load import load
from selena.errors import AuditWarning, ConfigError
from selena.seeding import numpy_generator

N, COPIED = 300, 40


def bits(n: int = N, width: int = 200) -> np.ndarray:
    drawn = numpy_generator(1, "bits").random((n, width)) < 0.15
    return drawn.astype(np.uint8)


def flipped(rows: np.ndarray, count: int) -> np.ndarray:
    near, draw = rows.copy(), numpy_generator(2, "flips")
    for row in near:
        row[draw.choice(rows.shape[1], count, replace=False)] ^= 1
    return near


def numbers(n: int = N, width: int = 20) -> np.ndarray:
    return numpy_generator(3, "numbers").normal(size=(n, width)) * np.logspace(-3, 3, width)


def units_of(x: Any, setting: Any = "auto") -> np.ndarray:
    alone = np.arange(x.shape[0])
    return join_near(x, alone, alone, setting)


def pairs_found(units: np.ndarray) -> int:
    return int((units[:COPIED] == units[N:]).sum())


def others_linked(units: np.ndarray) -> int:
    return int((np.bincount(units)[units[COPIED:N]] > 1).sum())


@pytest.mark.parametrize("distance", [1, 4, 8, 12])
def test_copies_of_bits_are_found(distance: int) -> None:
    x = np.concatenate([bits(), flipped(bits()[:COPIED], distance)])
    units = units_of(torch.from_numpy(x))
    assert pairs_found(units) == COPIED
    assert others_linked(units) == 0


def test_copies_of_numbers_are_found() -> None:
    x = numbers()
    near = x[:COPIED] + 0.1 * x.std(axis=0) * numpy_generator(4).normal(size=(COPIED, x.shape[1]))
    units = units_of(np.concatenate([x, near]))
    assert pairs_found(units) == COPIED
    # A thousandth of the records may be linked by chance: 6 are beyond six standard deviations.
    assert others_linked(units) <= 6


def test_cells_invent_no_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    # A cell holds few of the 50 records around a prototype, and strangers beside them.
    draw = numpy_generator(7, "clusters")
    prototypes = draw.random((60, 600)) < 0.25
    x = np.repeat(prototypes, 50, axis=0) ^ (draw.random((3_000, 600)) < 1 / 8)
    both = np.concatenate([x, x[:COPIED] ^ (np.arange(600) < 4)]).astype(np.uint8)
    monkeypatch.setattr(neighbours, "EXACT", 0)
    monkeypatch.setattr(neighbours, "_PER_CELL", 200)
    units = units_of(both)
    assert (units[:COPIED] == units[len(x) :]).all()
    assert (np.bincount(units)[units[COPIED : len(x)]] > 1).mean() < 0.01


def test_a_large_offset_hides_no_copy() -> None:
    x = numpy_generator(5).normal(size=(N, 20))
    near = x[:COPIED] + 0.05 * numpy_generator(6).normal(size=(COPIED, 20))
    units = units_of(1e9 + np.concatenate([x, near]))
    assert pairs_found(units) == COPIED


def test_copies_in_sparse_rows_are_found() -> None:
    x = np.concatenate([bits(), flipped(bits()[:COPIED], 4)]) * 1.0
    x *= numpy_generator(7).uniform(0.9, 1.1, size=x.shape)
    units = units_of(sparse.csr_array(x))
    assert pairs_found(units) == COPIED
    assert others_linked(units) == 0


def test_missing_values_are_a_value() -> None:
    x = numbers()
    x[::3, 4] = np.nan
    near = x[:COPIED] * 1.0001
    assert pairs_found(units_of(np.concatenate([x, near]))) == COPIED


def test_several_copies_of_one_record_are_one_unit() -> None:
    few = 3  # with their copies 15 of 312 records, below a twentieth
    x = np.concatenate([bits(), *(flipped(bits()[:few], i) for i in range(1, 5))])
    units = units_of(torch.from_numpy(x))
    for i in range(4):
        assert (units[:few] == units[N + i * few : N + (i + 1) * few]).all()
    assert (np.bincount(units)[units[few:N]] == 1).all()


def test_many_groups_of_close_records_are_no_copies() -> None:
    middles = bits(60)
    x = np.concatenate([bits(), *(flipped(middles, i) for i in range(1, 5))])
    assert len(find_near_duplicates(x)) == 0
    assert len(find_near_duplicates(x, 12.0)) > 0  # a distance says so
    assert (units_of(torch.from_numpy(x)) == np.arange(len(x))).all()


@pytest.mark.parametrize("width", [2, 5, 30])
def test_evenly_spread_records_stay_apart(width: int) -> None:
    x = numpy_generator(8, "even").normal(size=(3_000, width))
    units = units_of(x)
    # By the rule 3 records have a gap by chance; a link holds two, and 14 is six deviations off.
    assert len(x) - len(np.unique(units)) <= 14


def test_bits_of_a_full_cube_stay_apart() -> None:
    cube = np.array(np.meshgrid(*[[0, 1]] * 9)).reshape(9, -1).T.astype(np.uint8)
    assert len(find_near_duplicates(torch.from_numpy(cube))) == 0


def test_gap_limit_follows_the_dimension() -> None:
    def spread(dimension: int) -> np.ndarray:
        volumes = numpy_generator(9).exponential(size=(4_000, 9)).cumsum(axis=1)
        return volumes ** (1 / dimension)

    for dimension in (2, 8):
        assert gap_limit(spread(dimension)) == pytest.approx(1e-3 ** (1 / dimension), rel=0.2)
    assert gap_limit(spread(100)) == pytest.approx(2 / 3)
    assert gap_limit(np.zeros((5, 9))) == 0


def test_threshold_counts_bits() -> None:
    x = np.zeros((40, 200), dtype=np.uint8)
    x[1, :3], x[2, 5:9] = 1, 1
    for i in range(3, 40):
        x[i, 5 * i : 5 * i + 5] = 1
    for threshold, expected in ((2.0, [0, 1, 2, 3]), (3.0, [0, 0, 2, 3]), (4.0, [0, 0, 0, 3])):
        assert units_of(torch.from_numpy(x), threshold)[:4].tolist() == expected


def test_threshold_counts_standard_deviations() -> None:
    x = np.array([[0.0], [1.0], *[[10.0 * i] for i in range(1, 39)]]) * 1000
    std = float(x.std()) / 1000
    assert len(np.unique(units_of(x, 0.99 / std))) == 40
    assert units_of(x, 1.01 / std).tolist() == [0, 0, *range(2, 40)]


def test_two_valued_columns_count_one_beside_numbers() -> None:
    x = np.array([[0.0, 7.0], [0.0, 9.0], [80.0, 7.0], [90.0, 7.0], [-90.0, 7.0]])
    found = find_near_duplicates(x, 1.0)
    pairs = [*zip(found.first.tolist(), found.second.tolist(), found.distances, strict=True)]
    assert [pair for pair in pairs if pair[0] < 2] == [(0, 1, 1.0), (1, 0, 1.0)]


def test_exact_links_nothing_more_than_units() -> None:
    x = torch.from_numpy(np.concatenate([bits(), flipped(bits(), 1)]))
    units = np.arange(len(x)) // 2
    assert join_near(x, np.arange(len(x)), units, "exact") is units
    assert len(find_near_duplicates(x, "exact")) == 0


def test_few_records_link_nothing() -> None:
    x = numbers(near_duplicates.FEWEST_RECORDS // 2)
    assert len(find_near_duplicates(np.concatenate([x, x * 1.0001])[:-1])) == 0


def test_order_of_records_does_not_matter() -> None:
    x = np.concatenate([bits(), flipped(bits()[:COPIED], 4)])
    order = numpy_generator(10).permutation(len(x))
    one, other = units_of(x)[order], units_of(x[order])
    assert np.array_equal(one[:, None] == one[None], other[:, None] == other[None])


def test_links_join_given_subjects() -> None:
    x = np.concatenate([bits(), flipped(bits()[:COPIED], 2)])
    units = np.arange(len(x))
    units[100] = 0  # a subject of two records, one of which has a near copy
    joined = join_near(torch.from_numpy(x), np.arange(len(x)), units, "auto")
    assert joined[0] == joined[100] == joined[N] == 0


def test_a_chain_is_cut_between_the_least_alike() -> None:
    n = 10 * LARGEST + 1
    first = np.arange(n - 1)
    distances = np.ones(n - 1)
    distances[LARGEST - 1 :: LARGEST] = 2
    with pytest.warns(AuditWarning, match=rf"up to {n} records or subjects; chains were cut at 32"):
        units = join_units(np.arange(n), first, first + 1, distances)
    assert np.bincount(np.unique(units, return_inverse=True)[1]).tolist() == [LARGEST] * 10 + [1]
    assert units.tolist() == [i // LARGEST * LARGEST for i in range(n)]


def test_joined_subjects_hold_a_tenth_of_records() -> None:
    units = np.repeat(np.arange(10), 6)
    with pytest.warns(AuditWarning, match="or at 6 records"):
        joined = join_units(units, np.array([0]), np.array([6]), np.array([1.0]))
    assert np.array_equal(joined, units)


def test_joined_units_keep_the_lowest_number() -> None:
    units = np.arange(40)
    joined = join_units(units, np.array([7, 30]), np.array([30, 7]), np.array([1.0, 1.0]))
    assert joined[30] == 7
    assert np.array_equal(np.delete(joined, 30), np.delete(units, 30))


@pytest.mark.parametrize("value", ["near", True, None, 0, -1.0, float("inf"), float("nan")])
def test_wrong_setting_is_an_error(value: Any) -> None:
    with pytest.raises(ConfigError, match="near_duplicates"):
        check_near_duplicates(value)


@pytest.mark.parametrize("value", ["auto", "exact", 3, 0.5])
def test_right_setting_is_none(value: Any) -> None:
    check_near_duplicates(value)


def test_at_most_eight_links_per_record() -> None:
    x = numpy_generator(11).normal(size=(60, 3)) * 1e-3
    found = find_near_duplicates(x, 1e9)
    assert np.bincount(found.first).tolist() == [MOST_COPIES] * 60


def test_copies_of_texts_and_of_mixed_rows_are_found() -> None:
    draw = numpy_generator(12)
    words = ["".join(draw.choice(list("abcdefghij"), 6)) for _ in range(400)]
    texts = [" ".join(draw.choice(words, 30)) for _ in range(N)]
    near = [text.replace(text[:6], "other", 1) for text in texts[:COPIED]]
    alone = np.arange(N + COPIED)
    units = join_near([*texts, *near], alone, alone, "auto")
    assert pairs_found(units) == COPIED
    assert others_linked(units) == 0
    x = numbers()
    rows = [[*row, "red" if row[0] > 0 else "blue"] for row in x.tolist()]
    changed = [[*row, "red"] for row in (x[:COPIED] * 1.0001).tolist()]
    found = find_near_duplicates(rows + changed, 1.01)
    linked = {*zip(found.first.tolist(), found.second.tolist(), strict=True)}
    assert {(i, N + i) for i in range(COPIED)} <= linked


@pytest.mark.parametrize(
    "name",
    ["purchase100-synthetic", pytest.param("texas100-synthetic", marks=pytest.mark.deep)],
)
def test_rare_sub_populations_are_no_copies(name: str) -> None:
    records = load(name, size=2000).records
    assert len(find_near_duplicates(records.x.numpy()[:1000])) == 0
