from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from selena.data import label_first, location
from selena.data.label_first import read_label_first
from selena.data.load import load
from selena.errors import DataError

RNG = np.random.default_rng(0)
BITS = RNG.integers(0, 2, (60, 446))
LABELS = np.arange(60) % 30 + 1


def published_form(bits: np.ndarray = BITS, labels: np.ndarray = LABELS) -> list[str]:
    return [
        ",".join([f'"{label}"', *map(str, row)]) for label, row in zip(labels, bits, strict=True)
    ]


def archive_of(folder: Path, lines: list[str]) -> Path:
    path = folder / location.ARCHIVE
    content = ("\n".join(lines) + "\n").encode()
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        entry = tarfile.TarInfo("bangkok")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return path


def test_small_archive_in_the_published_form(tmp_path: Path) -> None:
    dataset = location.read(archive_of(tmp_path, published_form()))
    assert dataset.records.x.dtype == torch.uint8
    assert torch.equal(dataset.records.x.long(), torch.from_numpy(BITS))
    assert torch.equal(dataset.records.y, torch.from_numpy(LABELS - 1))
    assert dataset.records.ids.tolist() == list(range(60))
    assert (dataset.num_classes, dataset.n_members, dataset.synthetic) == (30, 1_000, False)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", r"row 8: 0 cells instead of 447"),
        ('"1",0,1', r"row 8: 3 cells instead of 447"),
        ('"1"' + ",0" * 447, r"row 8: 448 cells instead of 447"),
        ('"31"' + ",0" * 446, r"row 8: the label is '31' instead of a number from 1 to 30"),
        ('"0"' + ",0" * 446, r"row 8: the label is '0' "),
        ('"cat"' + ",0" * 446, r"row 8: the label is 'cat' "),
        ('"1",0,2' + ",0" * 444, r"row 8, column 3: '2' is no bit"),
        ('"1",,0' + ",0" * 444, r"row 8, column 2: '' is no bit"),
        ('"1",0,-1' + ",0" * 444, r"row 8, column 3: '-1' is no bit"),
        ('"1",0,9999999999999999999999' + ",0" * 444, r"row 8, column 3: "),
        ('"1",0,\xff' + ",0" * 444, r"row 8, column 3: "),
        ("9" * 30 + ",0" * 446, r"row 8: the label is '999999999999999999999999999999' "),
        ("1,\r0" + ",0" * 445, r"row 8: this is no row of CSV text"),
        ("1" * 5000, r"row 8: the row has more than 3,640 bytes"),
    ],
)
@pytest.mark.parametrize("block", [3, 4096])
def test_wrong_rows_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, complaint: str, block: int
) -> None:
    monkeypatch.setattr(label_first, "_BLOCK", block)
    lines = published_form()
    lines[7] = line
    with pytest.raises(DataError, match=rf"dataset_location\.tgz:bangkok, {complaint}"):
        location.read(archive_of(tmp_path, lines))


def test_empty_member(tmp_path: Path) -> None:
    stream = io.BytesIO(b"")
    with pytest.raises(DataError, match="bangkok: the file is empty"):
        read_label_first(stream, name="bangkok", classes=30, width=446)


def test_blocks_are_joined_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"".join(b"%d,%d,0\r\n" % (row % 5 + 1, row % 2) for row in range(23))
    whole = read_label_first(io.BytesIO(text), name="t", classes=5, width=2)
    monkeypatch.setattr(label_first, "_BLOCK", 4)
    artifacts = read_label_first(io.BytesIO(text), name="t", classes=5, width=2)
    assert whole[1].tolist() == [row % 5 for row in range(23)]
    assert all(np.array_equal(a, b) for a, b in zip(whole, artifacts, strict=True))


def test_truncated_archive(tmp_path: Path) -> None:
    path = archive_of(tmp_path, published_form())
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(DataError, match="truncated or corrupted"):
        location.read(path)


def test_only_the_published_archive_is_taken(tmp_path: Path) -> None:
    archive_of(tmp_path, published_form())
    with pytest.raises(DataError, match="truncated, changed or another one"):
        load("location30", data_dir=tmp_path)


def test_real_archive(shared: Callable[[str], Path]) -> None:
    archive = shared(f"data/{location.ARCHIVE}")
    dataset = load("location30", data_dir=archive.parent)
    assert tuple(dataset.records.x.shape) == (5_010, 446)
    assert torch.bincount(dataset.records.y).numpy().min() == 97
    assert len(torch.unique(dataset.records.y)) == 30
    assert set(torch.unique(dataset.records.x).tolist()) == {0, 1}
    assert dataset.records.y[0] == 12
