"""Small files of records, in every form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

X = np.array([[0.5, 1.0], [2.0, -3.0], [4.0, 5.5], [6.0, 7.0]])
Y = np.array([0, 1, 0, 1])


def npz(folder: Path, **arrays: Any) -> Path:
    path = folder / "own.npz"
    np.savez(path, **arrays)
    return path


def csv(folder: Path, text: str) -> Path:
    path = folder / "own.csv"
    path.write_bytes(text.encode())
    return path


def parquet(folder: Path, **columns: Any) -> Path:
    path = folder / "own.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def written(kind: str, folder: Path, x: np.ndarray, y: np.ndarray) -> Path:
    if kind == "npz":
        return npz(folder, x=x, y=y)
    if kind == "parquet":
        return parquet(folder, a=x[:, 0], b=x[:, 1], label=y)
    rows = [f"{a},{b},{label}" for (a, b), label in zip(x, y, strict=True)]
    return csv(folder, "\n".join(["a,b,label", *rows]) + "\n")


KINDS = ["npz", "csv", "parquet"]
kinds = pytest.mark.parametrize("kind", KINDS)
