"""Members and non-members from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selena.errors import DataError
from selena.models import read_records


def test_arrays_keep_shape_and_type(tmp_path: Path) -> None:
    x = np.arange(96, dtype=np.uint8).reshape(2, 3, 4, 4)
    np.savez(tmp_path / "images.npz", x=x, y=np.array([1, 0]))
    read, y = read_records(tmp_path / "images.npz")
    np.testing.assert_array_equal(read, x)
    assert read.dtype == np.uint8
    assert y.tolist() == [1, 0]


def test_tables_have_a_column_of_labels(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"a": [0.5, 1], "label": [4, 2], "b": [3, 4]})
    frame.to_csv(tmp_path / "r.csv", index=False)
    frame.to_parquet(tmp_path / "r.parquet")
    for name in ("r.csv", "r.parquet"):
        x, y = read_records(str(tmp_path / name))
        assert x.tolist() == [[0.5, 3], [1, 4]]
        assert y.tolist() == [4, 2]  # numbers as they are: classes of the model
        assert read_records(tmp_path / name, label_column="b")[1].tolist() == [3, 4]
    frame.assign(label=["dog", "cat"]).to_csv(tmp_path / "named.csv", index=False)
    assert read_records(tmp_path / "named.csv")[1].tolist() == ["dog", "cat"]


def test_bad_files_are_named(tmp_path: Path) -> None:
    good: dict[str, Any] = {"x": np.eye(2), "y": np.arange(2)}
    np.savez(tmp_path / "lacking.npz", x=good["x"], z=good["y"])
    np.savez(tmp_path / "objects.npz", x=good["x"], y=np.array([{}, None]))
    np.savez(tmp_path / "good.npz", **good)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:100])
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    for name, match in (
        ("lacking.npz", "no array 'y', only x, z"),
        ("objects.npz", "holds objects"),
        ("cut.npz", "damaged"),
        ("absent.npz", "no such file"),
        ("table.csv", "no columns are called 'label'"),
        ("records.txt", r"\.txt"),
    ):
        with pytest.raises(DataError, match=match) as caught:
            read_records(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
