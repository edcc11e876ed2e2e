"""Columns of text in a user's file become inputs, and nothing is fitted on records for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selena.data.load import load_file
from selena.data.text_columns import HALF, INPUTS, hash_column
from selena.errors import DataError

HEADER = "job,age,label\n"
ROWS = ["cook,31,no", "nurse,44,yes", "clerk,52,no", ",23,yes", "cook,31.5,no", "nurse,40,yes"] * 2


def written(folder: Path, kind: str, rows: list[str]) -> Path:
    path = folder / f"own.{kind}"
    (folder / "own.csv").write_text(HEADER + "\n".join(rows) + "\n")
    if kind == "parquet":
        pandas = pytest.importorskip("pandas", reason="pandas is not installed")
        pandas.read_csv(folder / "own.csv").to_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_texts_set_two_inputs_of_their_column(kind: str, tmp_path: Path) -> None:
    dataset = load_file(written(tmp_path, kind, ROWS))
    x = dataset.records.x.numpy()
    assert dataset.features == "continuous"
    assert "hashes of the text in job" in dataset.source
    assert x.shape == (12, 1 + INPUTS)
    np.testing.assert_array_equal(x[:3, 0], [31, 44, 52])
    bits = x[:, 1:]
    assert set(np.unique(bits)) == {0, 1}
    assert (bits[:, :HALF].sum(axis=1) == 1).all()
    assert (bits[:, HALF:].sum(axis=1) == 1).all()
    np.testing.assert_array_equal(bits[0], bits[4])
    assert len(np.unique(bits, axis=0)) == 4  # three jobs and the empty cell


def test_other_records_change_no_record(tmp_path: Path) -> None:
    whole = load_file(written(tmp_path, "csv", ROWS)).records.x
    more = load_file(written(tmp_path, "csv", [*ROWS, "pilot,99,no", "pilot,1,yes"])).records.x
    np.testing.assert_array_equal(more[: len(whole)], whole)


def test_texts_alone_are_bits(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("job,label\n" + "cook,a\nnurse,b\n" * 3)
    dataset = load_file(path)
    assert dataset.features == "binary"
    assert dataset.records.x.shape == (6, INPUTS)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("cook,old,no", r"row 14, column 'age': 'old' is no number"),
        ("cook,,no", r"row 14, column 'age': the cell is empty"),
    ],
)
def test_mistakes_in_a_column_of_numbers(row: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=complaint):
        load_file(written(tmp_path, "csv", [*ROWS, row]))


def test_a_column_of_names_is_refused() -> None:
    words = np.array(["Ann", "Bob", "Cid", "Bob", "Dan"])
    with pytest.raises(DataError, match=r"4 different texts in 5 rows.*--subject-column"):
        hash_column(words, "name", Path("own.csv"))


def test_one_text_in_two_columns_sets_other_inputs() -> None:
    words = np.array(["yes", "no", "yes", "no"])
    first, second = (hash_column(words, name, Path("own.csv")) for name in ("smokes", "drinks"))
    assert (first != second).any()


@pytest.mark.parametrize("names", [[f"text {i}" for i in range(40)]])
def test_few_texts_are_confused(names: Any) -> None:
    inputs = hash_column(np.array(names * 2), "column", Path("own.csv"))
    assert len(np.unique(inputs, axis=0)) >= 38  # 780 pairs, each confused with 1 in 4,096
