from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet as pq

from selena.data import table_parquet
from selena.data.load import load_file
from selena.errors import DataError
from tests.data.tables import KINDS, X, Y, kinds, npz, parquet, written
from tests.toys import subjects_of

# What the three kinds of file share.


@kinds
def test_continuous_features_and_integer_labels(kind: str, tmp_path: Path) -> None:
    dataset = load_file(written(kind, tmp_path, X, Y))
    assert dataset.features == "continuous"
    assert dataset.records.x.dtype == torch.float32
    assert dataset.records.x.tolist() == X.tolist()
    assert dataset.records.y.tolist() == Y.tolist()
    assert dataset.records.ids.tolist() == [0, 1, 2, 3]
    assert (dataset.num_classes, dataset.n_members, dataset.recipe) == (2, 2, "tabular")
    assert dataset.name == f"own.{kind}"


@pytest.mark.parametrize(
    ("kind", "dtype"),
    # True is no number in a CSV file.
    [pair for pair in product(KINDS, [float, int, bool]) if pair != ("csv", bool)],
)
def test_bits_are_binary(kind: str, dtype: type, tmp_path: Path) -> None:
    bits = np.array([[0, 1], [1, 1], [0, 0], [1, 0]])
    dataset = load_file(written(kind, tmp_path, bits.astype(dtype), Y))
    assert dataset.features == "binary"
    assert dataset.records.x.dtype == torch.uint8
    assert dataset.records.x.tolist() == bits.tolist()


@kinds
def test_names_of_classes_are_numbered(kind: str, tmp_path: Path) -> None:
    dataset = load_file(written(kind, tmp_path, X, np.array(["cat", "ant", "cat", "bee"])))
    assert dataset.records.y.tolist() == [2, 0, 2, 1]
    assert dataset.source.endswith("classes ant, bee, cat")


@kinds
def test_gaps_between_labels_close_in_order(kind: str, tmp_path: Path) -> None:
    dataset = load_file(written(kind, tmp_path, X, np.array([10, 2, -1, 10])))
    assert dataset.records.y.tolist() == [2, 1, 0, 2]
    assert dataset.source.endswith("classes -1, 2, 10")


@kinds
def test_whole_floats_are_labels(kind: str, tmp_path: Path) -> None:
    dataset = load_file(written(kind, tmp_path, X, np.array([1.0, 10.0, 2.0, 2.0])))
    assert dataset.records.y.tolist() == [0, 2, 1, 1]


@kinds
@pytest.mark.parametrize("bad", [0.25, np.inf, 1e300])
def test_quantities_are_no_labels(kind: str, bad: float, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not whole ones"):
        load_file(written(kind, tmp_path, X, np.array([1.0, bad, 2.0, 2.0])))


@kinds
def test_two_spellings_of_a_class_are_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'01' and '1' spell one number"):
        load_file(written(kind, tmp_path, X, np.array(["01", "2", "1", "2"])))


@pytest.mark.parametrize("quoted", [False, True])
def test_booleans_of_a_csv_are_bits(quoted: bool, tmp_path: Path) -> None:
    true = '"True"' if quoted else "True"
    path = tmp_path / "dummies.csv"
    path.write_text(f"a,b,label\n{true},false,x\nFalse, TRUE,y\n")
    dataset = load_file(path)
    assert dataset.records.x.tolist() == [[1, 0], [0, 1]]
    assert dataset.features == "binary"


@kinds
def test_one_class_is_too_few(kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"every record has the label '3'"):
        load_file(written(kind, tmp_path, X, np.full(4, 3)))


@kinds
@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e39])
def test_infinite_features_are_named(kind: str, value: float, tmp_path: Path) -> None:
    bad = X.copy()
    bad[2, 1] = value
    row = {"csv": 4}.get(kind, 3)  # the header of a CSV file is row 1
    column = "x[:, 1]" if kind == "npz" else "b"
    with pytest.raises(DataError) as caught:
        load_file(written(kind, tmp_path, bad, Y))
    assert f"own.{kind}, row {row}, column {column!r}" in str(caught.value)
    assert "not a finite float32" in str(caught.value)


@kinds
def test_no_records(kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there are no records"):
        load_file(written(kind, tmp_path, X[:0], Y[:0]))


@pytest.mark.parametrize("name", ["own.npz", "own.csv", "own.parquet"])
@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe\x80" * 50])
def test_empty_and_unreadable_files(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        load_file(tmp_path / name)


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_truncated_files(kind: str, tmp_path: Path) -> None:
    path = written(kind, tmp_path, X, Y)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=f"own.{kind}: this is no"):
        load_file(path)


def test_corrupted_npz(tmp_path: Path) -> None:
    path = npz(tmp_path, x=X, y=Y)
    content = path.read_bytes()
    start = content.index(X.tobytes())
    path.write_bytes(content[:start] + b"\x7f" * 8 + content[start + 8 :])
    with pytest.raises(DataError, match=r"own\.npz, array \'x\': it is damaged"):
        load_file(path)


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        load_file(tmp_path / "none.csv")


def test_unknown_kind_of_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'\.xlsx'. Known: \.csv, \.npz, \.parquet"):
        load_file(tmp_path / "own.xlsx")


# .npz


def test_long_names_of_arrays(tmp_path: Path) -> None:
    assert load_file(npz(tmp_path, features=X, labels=Y)).records.x.tolist() == X.tolist()


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"who": Y[:3]}, r"subjects have shape \(3,\).* the 4 records"),
        ({"who": X[:, 0]}, "subjects have shape .* float"),
        ({}, "no array 'who', only x, y"),
        ({"who": np.array([-1, -2, 0, 1])}, "own.npz: a subject has the number -2"),
    ],
)
def test_wrong_subjects_of_an_archive(
    arrays: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=complaint):
        load_file(npz(tmp_path, x=X, y=Y, **arrays), subject_column="who")


def test_labels_are_no_subjects(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="array 'y' holds features or labels"):
        load_file(npz(tmp_path, x=X, y=Y), subject_column="y")


def test_subjects_of_an_archive(tmp_path: Path) -> None:
    records = load_file(
        npz(tmp_path, x=X, y=Y, who=np.array(["b", "a", "b", "c"])), subject_column="who"
    ).records
    assert subjects_of(records).tolist() == [1, 0, 1, 2]


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"x": X}, "no array 'y' or 'labels', only x"),
        ({"y": Y}, "no array 'x' or 'features', only y"),
        ({"x": X, "y": Y[:3]}, "one for each of the 4 records"),
        ({"x": X[:, 0], "y": Y}, r"shape \(4,\)"),
        ({"x": X.reshape(4, 2, 1), "y": Y}, r"x\.reshape\(len\(x\), -1\)"),
        ({"x": X.astype(str), "y": Y}, "real numbers"),
        ({"x": X.astype(complex), "y": Y}, "real numbers"),
        ({"x": X[:, :0], "y": Y}, "no feature columns"),
        ({"x": X.astype(object), "y": Y}, "holds objects"),
        ({"x": X, "y": Y.astype(object)}, "holds objects"),
        ({"x": X, "y": Y, "num_classes": 1}, "num_classes must be one integer"),
        ({"x": X, "y": Y, "num_classes": [2, 3]}, "num_classes must be one integer"),
        ({"x": X, "y": Y, "num_classes": 3}, "class 2 is empty"),
        ({"x": X, "y": Y + 1, "num_classes": 2}, "row 2: label 2 is out of range"),
        ({"x": X, "y": Y - 1, "num_classes": 2}, "row 1: label -1 is out of range"),
        ({"x": X, "y": Y.astype(str), "num_classes": 2}, "labels must be integers"),
    ],
)
def test_wrong_arrays(arrays: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        load_file(npz(tmp_path, **arrays))
    assert "own.npz" in str(caught.value)


def test_declared_classes_are_kept(tmp_path: Path) -> None:
    dataset = load_file(npz(tmp_path, x=X, y=np.array([2, 0, 1, 1]), num_classes=3))
    assert dataset.records.y.tolist() == [2, 0, 1, 1]


def test_lone_array_is_no_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "own.npy", X)
    (tmp_path / "own.npy").rename(tmp_path / "own.npz")
    with pytest.raises(DataError, match=r"no \.npz archive"):
        load_file(tmp_path / "own.npz")


# .parquet


def test_a_data_frames_index_is_no_feature(tmp_path: Path) -> None:
    path = parquet(tmp_path, a=[1.5, 2.5], label=[0, 1], __index_level_0__=[7, 9])
    assert load_file(path).records.x.tolist() == [[1.5], [2.5]]


def test_categories_are_labels(tmp_path: Path) -> None:
    path = parquet(tmp_path, a=[1.5, 2.5], kind=pa.array(["x", "y"]).dictionary_encode())
    assert load_file(path, label_column="kind").records.y.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"a": [1.0, 2.0]}, r"no columns are called 'label'"),
        (
            {"a": ["Paris", "Rome"], "label": [0, 1]},
            r"column 'a': holds 2 different texts in 2 rows",
        ),
        ({"a": [1.0, None], "label": [0, 1]}, r"row 2, column 'a': the cell is empty"),
        ({"a": [1.0, 2.0], "label": ["x", None]}, r"row 2, column 'label': the cell is empty"),
        (
            {"a": [1.0, 2.0], "label": np.array(["2020-01-01", "2020-01-02"], "datetime64[ms]")},
            r"column 'label': holds timestamp",
        ),
        ({"a": [1.0, 2.0], "label": [[1], [2]]}, r"column 'label': holds list"),
        (
            {
                "a": [1.0, 2.0],
                "label": pa.array([None, None], pa.dictionary(pa.int8(), pa.string())),
            },
            r"row 1, column 'label': the cell is empty",
        ),
    ],
)
def test_wrong_columns(columns: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=complaint):
        load_file(parquet(tmp_path, **columns))


def test_a_column_that_is_there_twice_is_named(tmp_path: Path) -> None:
    columns = [pa.array([1.0, 2.0]), pa.array([1.0, 2.0]), pa.array([0, 1])]
    pq.write_table(pa.Table.from_arrays(columns, ["a", "a", "label"]), tmp_path / "own.parquet")
    with pytest.raises(DataError, match=r"2 columns are called 'a'.*Name each once"):
        load_file(tmp_path / "own.parquet")


def test_subjects_of_a_parquet_file(tmp_path: Path) -> None:
    path = parquet(tmp_path, a=[1.5, 2.5, 3.5], who=[7, 3, 7], label=[0, 1, 1])
    records = load_file(path, subject_column="who").records
    assert records.x.tolist() == [[1.5], [2.5], [3.5]]
    assert subjects_of(records).tolist() == [1, 0, 1]


def test_columns_read_in_turns_stay_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_parquet, "_COLUMNS", 2)
    x = np.random.default_rng(0).normal(size=(30, 7)).astype(np.float32)
    columns = {f"c{i}": x[:, i] for i in range(7)}
    path = parquet(tmp_path, **columns, label=np.arange(30) % 3)
    records = load_file(path).records
    np.testing.assert_array_equal(records.x.numpy(), x)
    assert records.y.tolist() == [i % 3 for i in range(30)]
