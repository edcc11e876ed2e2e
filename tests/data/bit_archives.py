"""Small archives in the published forms of Purchase100 and Texas100."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

Bits = UInt8[np.ndarray, "n width"]
Labels = Int64[np.ndarray, " n"]


def records(n: int, width: int, seed: int = 0) -> tuple[Bits, Labels]:
    """Bits, and labels from 1 to 100 that all occur where there are 100 records."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, (n, width), dtype=np.uint8), np.arange(n, dtype=np.int64) % 100 + 1


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def text(rows: Bits) -> list[bytes]:
    return [b",".join(row) for row in np.array([b"0", b"1"])[rows].tolist()]


def purchase(path: Path, bits: Bits, labels: Labels) -> Path:
    rows = [b"%d,%s\n" % row for row in zip(labels.tolist(), text(bits), strict=True)]
    return pack(path, {"dataset_purchase": b"".join(rows)})


def texas(path: Path, bits: Bits, labels: Labels) -> Path:
    return pack(
        path,
        {
            "texas/100/feats": b"\n".join(text(bits)) + b"\n",
            "texas/100/labels": b"".join(b"%d\n" % label for label in labels.tolist()),
        },
    )
