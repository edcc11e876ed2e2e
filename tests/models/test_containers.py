"""Containers: rows come back as they went in, and equal records are recognized in each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from selena.errors import DataError
from selena.models import shared_rows
from selena.models.containers import contain

NUMBERS = np.random.default_rng(0).integers(0, 2, (30, 4)).astype(np.float32)


def frame(library: str) -> Callable[[np.ndarray], Any]:
    def build(x: np.ndarray) -> Any:
        columns = {f"f{i}": x[:, i] for i in range(x.shape[1])}
        return pytest.importorskip(library, reason="is not installed").DataFrame(columns)

    return build


KINDS: dict[str, Callable[[np.ndarray], Any]] = {
    "array": lambda x: x,
    "tensor": torch.from_numpy,
    "bfloat16": lambda x: torch.from_numpy(x).bfloat16(),
    "list": np.ndarray.tolist,
    "sparse": sparse.csr_array,
    "coordinates": sparse.coo_matrix,
    "pandas": frame("pandas"),
    "polars": frame("polars"),
}


def numbers(x: Any) -> np.ndarray:
    dense: Any = x.toarray() if hasattr(x, "toarray") else contain(x, "x").numbers()
    return np.asarray(dense)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_taken_joined_and_made_again(kind: str) -> None:
    x = KINDS[kind](NUMBERS)
    container = contain(x, "x")
    rows = np.array([7, 0, 7])
    np.testing.assert_array_equal(numbers(container.take(rows)), NUMBERS[rows])
    both = container.join(KINDS[kind](NUMBERS[:5]))
    np.testing.assert_array_equal(numbers(both), np.concatenate([NUMBERS, NUMBERS[:5]]))
    assert len(container) == 30
    if not sparse.issparse(x):
        again = container.like(container.numbers())
        assert type(again) is type(x)
        np.testing.assert_array_equal(numbers(again), NUMBERS)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(
    rows=st.lists(st.integers(0, 29), min_size=1, max_size=20),
    others=st.lists(st.integers(0, 29), min_size=1, max_size=20),
)
def test_shared_rows_have_equal_content_and_label(
    kind: str, rows: list[int], others: list[int]
) -> None:
    labels = np.arange(30) % 2
    members = (KINDS[kind](NUMBERS[rows]), labels[rows])
    non_members = (KINDS[kind](NUMBERS[others]), labels[others].tolist())
    content = {(*NUMBERS[row].tolist(), labels[row]) for row in rows}
    expected = [
        i for i, row in enumerate(others) if (*NUMBERS[row].tolist(), labels[row]) in content
    ]
    assert shared_rows(members, non_members).tolist() == expected


def test_equal_numbers_are_equal_records() -> None:
    y = [0, 1]
    zeros = np.array([[0.0, 1.0], [2.0, 3.0]])
    assert shared_rows((zeros, y), (zeros * [[-1, 1], [1, 1]] + [[0, 0], [1, 1]], y)).tolist() == [
        0
    ]
    explicit = sparse.csr_array(([1.0, 0.0, 3.0, 2.0], ([0, 0, 1, 1], [1, 0, 1, 0])), (2, 2))
    assert explicit.nnz > sparse.csr_array(zeros).nnz
    assert shared_rows((sparse.csr_array(zeros), y), (explicit, y)).tolist() == [0, 1]


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, sparse.csr_array, frame("pandas")])
def test_numbers_of_fewer_digits_are_refused(kind: Callable[[np.ndarray], Any]) -> None:
    """Rounded, a record would not be found on the other side."""
    x, y = np.array([[0.1], [0.2]]), [0, 1]
    with pytest.raises(DataError, match=r"float64, those of non-members .*float32"):
        shared_rows((kind(x), y), (kind(x.astype(np.float32)), y))
    assert shared_rows((kind(x), y), (kind(x.copy()), y)).tolist() == [0, 1]


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_lists_of_long_arrays_are_compared_whole(
    kind: Callable[[np.ndarray], Any],
) -> None:
    """NumPy and PyTorch print long arrays shortened, and numbers rounded."""
    x = np.zeros((40, 1200))
    x[:, 600] = 1000 + np.arange(40) / 1e9
    y = np.zeros(20, dtype=int)
    ours, theirs = [kind(row) for row in x[:20]], [kind(row) for row in x[20:]]
    assert shared_rows((ours, y), (theirs, y)).tolist() == []
    assert shared_rows((ours, y), ([*theirs[:-1], ours[3]], y)).tolist() == [19]
    objects = np.empty(20, dtype=object), np.empty(20, dtype=object)
    for array, rows in zip(objects, (ours, theirs), strict=True):
        array[:] = rows
    assert shared_rows((objects[0], y), (objects[1], y)).tolist() == []


def test_texts_and_columns_of_texts() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    polars = pytest.importorskip("polars", reason="polars is not installed")
    ours, theirs, y = ["a b", "c"], ["c", "a b", "a  b"], [0, 0]
    for kind in (list, np.array, pandas.Series, polars.Series):
        assert shared_rows((kind(ours), y), (kind(theirs), [0, 0, 0])).tolist() == [0, 1]
    for library in (pandas, polars):
        ours_too, theirs_too = (library.DataFrame({"t": each}) for each in (ours, theirs))
        assert shared_rows((ours_too, y), (theirs_too, [0, 0, 0])).tolist() == [0, 1]


def test_what_does_not_fit_together_is_named() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    polars = pytest.importorskip("polars", reason="polars is not installed")

    def refused(ours: Any, theirs: Any, match: str) -> None:
        with pytest.raises(DataError, match=match):
            shared_rows((ours, [0, 1]), (theirs, [0, 1]))

    for library in (pandas, polars):
        refused(library.DataFrame({"f": [1, 2]}), library.DataFrame({"g": [1, 2]}), "columns")
    refused(polars.DataFrame({"f": [1, 2]}), polars.DataFrame({"f": ["a", "b"]}), "frames")
    ours, theirs = (
        pandas.DataFrame({"c": pandas.Categorical(list(each))}) for each in ("ab", "ac")
    )
    refused(ours, theirs, r"'c' has other categories.*CategoricalDtype")
    refused(polars.LazyFrame({"f": [1, 2]}), polars.LazyFrame({"f": [1, 2]}), "LazyFrame")
    refused(np.array(1.0), np.array(1.0), "no records")
    refused(sparse.csr_array(np.eye(2)), sparse.csr_array(np.eye(2, 3)), "numbers of features")


def test_what_is_no_number_is_named() -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    for x, match in (
        (polars.DataFrame({"f": [1], "g": ["a"]}), "'g' holds String"),
        (polars.Series("g", ["a"]), "'g' holds String"),
        (np.array(["a"]), "not numbers"),
        ([[1], [1, 2]], "unequal lengths"),
        (sparse.csr_array(np.eye(2)), "toarray"),
    ):
        with pytest.raises(DataError, match=match):
            contain(x, "x").numbers()
