"""The search of nearest records: exact where all pairs are compared, nearly so by cells."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from selena.content import neighbours
from selena.content.neighbours import nearest
from selena.content.vectors import vectors_of
from selena.seeding import numpy_generator


def brute(points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    gaps = np.square(points[:, None] - points[None]).sum(axis=2)
    np.fill_diagonal(gaps, np.inf)
    rows = gaps.argsort(axis=1, kind="stable")[:, :k]
    return np.take_along_axis(gaps, rows, 1), rows


@pytest.mark.parametrize("width", [4, 40])
def test_nearest_agrees_with_all_pairs(width: int) -> None:
    x = numpy_generator(1).normal(size=(200, width))
    gaps, rows = nearest(vectors_of(x), 5)
    expected, theirs = brute(x / x.std(axis=0), 5)
    assert np.array_equal(rows, theirs)
    assert gaps == pytest.approx(expected, rel=1e-4)


def test_nearest_of_bits_is_exact() -> None:
    x = (numpy_generator(2).random((300, 60)) < 0.3).astype(np.uint8)
    gaps, _ = nearest(vectors_of(x), 6)
    assert np.array_equal(gaps, brute(x.astype(float), 6)[0])


def test_sparse_rows_have_the_distances_of_dense_ones() -> None:
    x = numpy_generator(3).normal(size=(150, 30))
    x[numpy_generator(4).random(x.shape) < 0.7] = 0
    dense, sparse_ = nearest(vectors_of(x), 4), nearest(vectors_of(sparse.csr_array(x)), 4)
    assert np.array_equal(dense[1], sparse_[1])
    assert sparse_[0] == pytest.approx(dense[0], rel=1e-4)


@pytest.mark.parametrize("as_sparse", [False, True])
def test_cells_find_near_copies(monkeypatch: pytest.MonkeyPatch, as_sparse: bool) -> None:
    monkeypatch.setattr(neighbours, "EXACT", 0)
    monkeypatch.setattr(neighbours, "_PER_CELL", 100)
    x = (numpy_generator(5).random((1_000, 100)) < 0.2).astype(np.uint8)
    near = x.copy()
    near[:, 0] ^= 1
    both = np.concatenate([x, near])
    gaps, rows = nearest(vectors_of(sparse.csr_array(both) if as_sparse else both), 3)
    assert (rows[:, 0] == (np.arange(2_000) + 1_000) % 2_000).mean() > 0.99
    assert not (rows == np.arange(2_000)[:, None]).any()
    assert (gaps[rows[:, 0] == (np.arange(2_000) + 1_000) % 2_000, 0] == 1).all()


def test_column_of_one_value_tells_nothing() -> None:
    x = numpy_generator(6).normal(size=(50, 3))
    constant = np.concatenate([x, np.full((50, 1), 5.0)], axis=1)
    assert nearest(vectors_of(x), 2)[0] == pytest.approx(nearest(vectors_of(constant), 2)[0])


def test_huge_and_infinite_numbers_are_vectors() -> None:
    x = numpy_generator(7).normal(size=(60, 4))
    x[0, 0], x[1, 0], x[2, 0] = 1e308, -1e308, np.inf
    gaps, _ = nearest(vectors_of(x), 3)
    assert np.isfinite(gaps).all()
