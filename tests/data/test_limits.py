"""What a file may ask for: sizes are checked before memory is taken."""

from __future__ import annotations

import io
import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from selena.data.load import load_file
from selena.data.open_table import open_table
from selena.errors import ConfigError, DataError
from selena.files import reading
from tests.data.tables import X, Y, csv, npz, parquet


def test_declared_classes_take_no_memory(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"class 2 is empty: num_classes is 9223372036854775807"):
        load_file(npz(tmp_path, x=X, y=Y, num_classes=2**63 - 1))


def test_arrays_have_the_size_of_their_header(tmp_path: Path) -> None:
    header = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (10**15, 2)}
    np.lib.format.write_array_header_1_0(header, shape)
    path = npz(tmp_path, y=Y)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x.npy", header.getvalue())
    with pytest.raises(DataError, match=r"'x' is damaged: its header says 16,000,000,000"):
        load_file(path)


@pytest.mark.parametrize(
    ("limit", "value", "complaint"),
    [
        ("BYTES", 60, r"array 'x': it would take 64 bytes, and the limit is 60.*SELENA_MAX_BYTES"),
        ("ROWS", 3, r"array 'x': it has 4 rows, and the limit is 3.*SELENA_MAX_ROWS"),
    ],
)
def test_limits_are_settings(
    limit: str, value: int, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = npz(tmp_path, x=X, y=Y)
    monkeypatch.setenv(f"SELENA_MAX_{limit}", str(value))
    with pytest.raises(DataError, match=complaint):
        load_file(path)


def test_archives_that_unpack_to_too_much_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.npz"
    np.savez_compressed(path, x=np.zeros((4096, 8)), y=np.arange(4096) % 2)
    assert len(load_file(path).records) == 4096
    monkeypatch.setattr(reading, "_FREE", 1 << 16)
    with pytest.raises(DataError, match=r"unpack to [0-9,]+ times its own size.*SELENA_MAX_RATIO"):
        load_file(path)


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    path = npz(tmp_path, x=X, y=Y)
    content = path.read_bytes()
    for sign, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        where = content.index(sign) + place
        content = content[:where] + bytes([content[where] | 1]) + content[where + 1 :]
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"array 'x': .*encrypted"):
        load_file(path)


def test_rows_of_a_parquet_file_are_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = parquet(tmp_path, a=[1.5, 2.5, 3.5], label=[0, 1, 1])
    monkeypatch.setenv("SELENA_MAX_ROWS", "2")
    with pytest.raises(DataError, match=r"it has 3 rows, and the limit is 2"):
        load_file(path)


def test_one_long_label_does_not_fill_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = csv(tmp_path, "a,label\n1,x\n2," + "y" * 1000 + "\n" + "3,x\n" * 100)
    monkeypatch.setenv("SELENA_MAX_BYTES", "100000")
    with pytest.raises(DataError, match="its text would take 408,000 bytes"):
        load_file(path)


def test_a_row_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = csv(tmp_path, "a,label\n1,x\n" + "2" * 5000)
    monkeypatch.setenv("SELENA_MAX_LINE", "1000")
    with pytest.raises(DataError, match=r"row 3: the row has more than 1,000 characters"):
        load_file(path)


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "own.csv")
    with pytest.raises(DataError, match=r"own\.csv: this is no file"):
        load_file(tmp_path / "own.csv")


def test_a_wrong_limit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELENA_MAX_ROWS", "many")
    with pytest.raises(ConfigError, match="SELENA_MAX_ROWS='many' in the environment"):
        load_file(npz(tmp_path, x=X, y=Y))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_stands_in_memory_once(kind: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 9, (150_000, 8)).astype(np.float64)
    if kind == "parquet":
        path = parquet(tmp_path, **{f"c{i}": x[:, i] for i in range(8)})
    else:
        path = tmp_path / "own.csv"
        np.savetxt(path, x, fmt="%d", delimiter=",", header=",".join("abcdefgh"), comments="")
    table = open_table(path)
    tracemalloc.start()
    try:
        cells = table.read(range(8), (), np.float64)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(cells.numbers, x)
    assert peak < 1.5 * x.nbytes
