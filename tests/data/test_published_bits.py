from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selena.data import label_first, load, purchase, texas
from selena.data.label_first import Block
from selena.data.published_bits import PublishedBits
from selena.errors import DataError, StoreError
from selena.files.writing import CACHE_VARIABLE, file_sha256
from tests.data import bit_archives

SETS = [(purchase.PURCHASE100, bit_archives.purchase), (texas.TEXAS100, bit_archives.texas)]
Write = Callable[[Path, bit_archives.Bits, bit_archives.Labels], Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(("published", "write"), SETS)
@pytest.mark.parametrize("block", [7, 512])
def test_published_form(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    published: PublishedBits,
    write: Write,
    block: int,
) -> None:
    monkeypatch.setattr(label_first, "_BLOCK", block)
    bits, labels = bit_archives.records(100, published.width)
    write(tmp_path / published.archive, bits, labels)
    dataset = load(published.name, data_dir=tmp_path)
    assert dataset.records.x.dtype == torch.uint8
    assert torch.equal(dataset.records.x, torch.from_numpy(bits))
    assert torch.equal(dataset.records.y, torch.from_numpy(labels - 1))
    assert dataset.records.ids.tolist() == list(range(100))
    assert (dataset.name, dataset.recipe) == (published.name, published.name)
    assert (dataset.num_classes, dataset.features, dataset.synthetic) == (100, "binary", False)


def test_sizes_of_the_published_sets() -> None:
    sizes = [(p.records, p.width, p.num_classes, p.members) for p, _ in SETS]
    assert sizes == [(197_324, 600, 100, 19_732), (67_330, 6_169, 100, 10_000)]


def never(archive: Path) -> Iterator[Block]:
    raise AssertionError("read a second time")


def small(folder: Path, seed: int = 0) -> PublishedBits:
    bits, labels = bit_archives.records(100, 600, seed)
    bit_archives.purchase(folder / purchase.PURCHASE100.archive, bits, labels)
    return purchase.PURCHASE100


def test_second_load_maps_what_the_first_wrote(tmp_path: Path, cache: Path) -> None:
    published = small(tmp_path)
    first = published.load(tmp_path)
    again = replace(published, blocks=never).load(tmp_path)
    assert torch.equal(first.records.x, again.records.x)
    assert torch.equal(first.records.y, again.records.y)
    kept = sorted(path.name for path in (cache / "prepared").iterdir())
    digest = file_sha256(tmp_path / published.archive)
    assert kept == [f"purchase100-{digest[:16]}-v1-{part}.npy" for part in ("bits", "labels")]


def test_writing_to_records_keeps_the_cache(tmp_path: Path) -> None:
    published = small(tmp_path)
    records = published.load(tmp_path).records
    before = records.x.clone()
    records.x.fill_(7)
    assert torch.equal(published.load(tmp_path).records.x, before)


def test_checksum_is_recorded_on_first_sight(tmp_path: Path, cache: Path) -> None:
    published = small(tmp_path)
    published.load(tmp_path)
    record = json.loads((cache / f"{published.archive}.json").read_text())
    path = tmp_path / published.archive
    assert record == {"sha256": file_sha256(path), "bytes": path.stat().st_size}


def test_another_archive_later_is_refused(tmp_path: Path, cache: Path) -> None:
    small(tmp_path).load(tmp_path)
    published = small(tmp_path, seed=1)
    record = cache / f"{published.archive}.json"
    with pytest.raises(DataError, match="changed or another one") as caught:
        published.load(tmp_path)
    assert f"delete {record}" in str(caught.value)
    record.unlink()
    assert len(published.load(tmp_path).records) == 100


def test_damaged_record_is_named(tmp_path: Path, cache: Path) -> None:
    published = small(tmp_path)
    cache.mkdir()
    (cache / f"{published.archive}.json").write_text("{}")
    with pytest.raises(StoreError, match=r"dataset_purchase\.tgz\.json is damaged"):
        published.load(tmp_path)


def test_damaged_archive_leaves_no_trace(tmp_path: Path, cache: Path) -> None:
    published = small(tmp_path)
    path = tmp_path / published.archive
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="truncated or corrupted"):
        published.load(tmp_path)
    assert path.exists()
    assert [p for p in cache.rglob("*") if p.is_file()] == []


def test_killed_conversion_is_done_again(tmp_path: Path, cache: Path) -> None:
    published = small(tmp_path)
    published.load(tmp_path)
    for path in (cache / "prepared").glob("*-bits.npy"):
        path.unlink()
    assert int(published.load(tmp_path).records.x.max()) == 1


@pytest.mark.parametrize("left", [0, 100, 400])
@pytest.mark.parametrize("which", ["bits", "labels"])
def test_cut_off_arrays_are_written_again(
    which: str, left: int, tmp_path: Path, cache: Path
) -> None:
    published = small(tmp_path)
    loaded = published.load(tmp_path).records
    x, y = loaded.x.clone(), loaded.y.clone()  # bits are mapped, and their file is cut off below
    for path in (cache / "prepared").glob(f"*-{which}.npy"):
        path.write_bytes(path.read_bytes()[:left])
    again = published.load(tmp_path).records
    assert torch.equal(again.x, x)
    assert torch.equal(again.y, y)


def test_cache_that_cannot_be_written(tmp_path: Path, cache: Path) -> None:
    published = small(tmp_path)
    cache.mkdir()
    (cache / "prepared").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="Cannot keep purchase100"):
        published.load(tmp_path)


def test_purchase_row_is_named(tmp_path: Path) -> None:
    bits, labels = bit_archives.records(9, 600)
    labels[4] = 101
    path = bit_archives.purchase(tmp_path / purchase.PURCHASE100.archive, bits, labels)
    with pytest.raises(DataError, match=r"dataset_purchase, row 5: the label is '101'"):
        list(purchase.blocks(path))


@pytest.mark.parametrize(("short", "ends"), [("labels", "texas/100/labels"), ("bits", "feats")])
def test_texas_needs_a_label_a_record(tmp_path: Path, short: str, ends: str) -> None:
    bits, labels = bit_archives.records(9, 6_169)
    if short == "labels":
        labels = labels[:-1]
    else:
        bits = bits[:-1]
    path = bit_archives.texas(tmp_path / texas.TEXAS100.archive, bits, labels)
    with pytest.raises(DataError, match=f"different numbers of rows; .*{ends} ends before row 9"):
        list(texas.blocks(path))


def test_texas_files_may_come_in_either_order(tmp_path: Path) -> None:
    bits, labels = bit_archives.records(5, 6_169)
    rows = b"\n".join(bit_archives.text(bits))
    path = bit_archives.pack(
        tmp_path / "t.tgz",
        {"./texas/100/labels": b"\n".join(b"%d" % v for v in labels), "./texas/100/feats": rows},
    )
    ((read, their_labels),) = texas.blocks(path)
    assert np.array_equal(read, bits)
    assert np.array_equal(their_labels, labels - 1)


def test_quick_and_careful_reading_agree() -> None:
    bits, labels = bit_archives.records(40, 30)
    plain = [b"%d,%s\n" % row for row in zip(labels.tolist(), bit_archives.text(bits), strict=True)]
    quoted = [line.replace(b",1", b',"1"') for line in plain]
    quick, careful = (
        label_first.read_label_first(lines, name="t", classes=100, width=30)
        for lines in (plain, quoted)
    )
    for one, other in zip(quick, careful, strict=True):
        assert np.array_equal(one, other)
    assert np.array_equal(quick[0], bits)
