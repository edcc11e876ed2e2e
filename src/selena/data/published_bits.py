"""Published archives of labelled bits that have no published checksum.

The checksum of the first download is recorded, and later files must match it. An archive is parsed
once: its records are kept in the cache as arrays, which can be memory-mapped at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from selena.data.download import fetch
from selena.data.label_first import Block
from selena.errors import DataError, StoreError
from selena.files.writing import atomic_path, cache_folder, file_sha256, write_json
from selena.types import Dataset, Records
from selena.workspace import Progress, Silent, Step

# Version in the names of the kept arrays: raise it when their format changes.
_FORM = 1


@dataclass(frozen=True)
class PublishedBits:
    """A published set of labelled bits.

    Attributes:
        name: registered name of the set and of its training recipe.
        archive: file name of the published archive.
        urls: its addresses, tried in turn.
        blocks: reads an archive, some records at a time.
        width: number of bits of a record.
        num_classes: number of classes.
        records: how many records were published (for the progress bar; archives may hold any
            number).
        members: number of training records of the target model by default.
    """

    name: str
    archive: str
    urls: tuple[str, ...]
    blocks: Callable[[Path], Iterator[Block]]
    width: int
    num_classes: int
    records: int
    members: int

    def load(self, data_dir: Path | None = None, progress: Progress | None = None) -> Dataset:
        """Return the published set, from an archive in `data_dir` or downloaded.

        Raises:
            DataError: if the archive is not available, is damaged, or is not the one seen first.
            StoreError: if the cache cannot be written.
        """
        archive = self.fetch(data_dir=data_dir, progress=progress)
        x, y = self._arrays(archive, progress)
        return Dataset(
            name=self.name,
            records=Records(x, y, torch.arange(len(y))),
            num_classes=self.num_classes,
            features="binary",
            recipe=self.name,
            n_members=self.members,
            source=f"{self.name}: {len(y):,} records of {self.archive} ({self.urls[0]})",
        )

    def _arrays(self, archive: Path, progress: Progress | None) -> tuple[Tensor, Tensor]:
        files = self._convert(archive, progress)
        try:
            return _mapped(*files)
        except (ValueError, EOFError):  # truncated, for example by a full disk
            for file in files:
                file.unlink()
        return _mapped(*self._convert(archive, progress))

    def fetch(
        self,
        *,
        data_dir: Path | None = None,
        progress: Progress | None = None,
    ) -> Path:
        """Return the archive's path, checked and read once; arguments as in `download.fetch`.

        Raises:
            DataError: see `load`.
            StoreError: see `load`.
        """
        record = cache_folder() / f"{self.archive}.json"
        known = _recorded(record)
        try:
            path = fetch(
                self.archive,
                self.urls,
                known,
                data_dir=data_dir,
                progress=progress,
                check=lambda path: self._convert(path, progress),
            )
            self._convert(path, progress)
        except DataError as error:
            if known is None:
                raise
            raise DataError(
                f"{error}\nThis archive has no published checksum: the expected one is that of the "
                f"first archive seen here. If you trust the new archive more, delete {record}."
            ) from error
        if known is None:
            write_json(record, {"sha256": file_sha256(path), "bytes": path.stat().st_size})
        return path

    def _convert(self, archive: Path, progress: Progress | None) -> tuple[Path, Path]:
        """Return the paths of an archive's bits and labels as arrays; write them if absent."""
        stem = f"{self.name}-{file_sha256(archive)[:16]}-v{_FORM}"
        folder = cache_folder() / "prepared"
        bits, labels = folder / f"{stem}-bits.npy", folder / f"{stem}-labels.npy"
        if bits.exists() and labels.exists():
            return bits, labels
        try:
            with (
                (progress or Silent()).step(f"Converting {self.archive}", self.records) as bar,
                atomic_path(bits) as new_bits,
                atomic_path(labels) as new_labels,
            ):
                values = _write_rows(new_bits, self.blocks(archive), self.width, bar)
                with new_labels.open("wb") as file:
                    np.save(file, values)
        except OSError as error:
            raise StoreError(f"Cannot keep {self.name} in {folder} ({error}).") from error
        return bits, labels


def _mapped(bits: Path, labels: Path) -> tuple[Tensor, Tensor]:
    """Return the arrays of two files; the bits are memory-mapped."""
    return torch.from_numpy(np.load(bits, mmap_mode="c")), torch.from_numpy(np.load(labels))


def _write_rows(
    path: Path, blocks: Iterator[Block], width: int, bar: Step
) -> Int64[np.ndarray, " n"]:
    """Write the bits of all blocks to one .npy file, and return their labels."""
    labels: list[Int64[np.ndarray, " m"]] = []
    rows = 0
    with path.open("wb") as file:
        _write_header(file, rows, width)
        for bits, their_labels in blocks:
            file.write(bits.tobytes())
            labels.append(their_labels)
            rows += len(bits)
            bar.advance(len(bits))
        # NumPy pads headers, so the final one is as long as the first and can replace it.
        file.seek(0)
        _write_header(file, rows, width)
    return np.concatenate(labels)


def _write_header(file: BinaryIO, rows: int, width: int) -> None:
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": (rows, width)}
    )


def _recorded(record: Path) -> str | None:
    """Return the recorded SHA-256, or None before the first archive."""
    if not record.exists():
        return None
    try:
        return str(json.loads(record.read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{record} is damaged ({error!r}). Delete it.") from error
