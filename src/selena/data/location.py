"""Location30: check-ins of 5,010 people in Bangkok as 446 bits, 30 classes (Shokri et al. 2017).

The standard small benchmark of membership inference; MemGuard's paper (Jia et al. 2019) trains
on 1,000 of the records.
"""

from __future__ import annotations

from pathlib import Path

import torch

from selena.data.archives import open_member
from selena.data.download import fetch
from selena.data.label_first import longest_row, read_label_first
from selena.files.reading import bounded_lines
from selena.types import Dataset, Records
from selena.workspace import Progress

ARCHIVE = "dataset_location.tgz"
URLS = (
    "https://raw.githubusercontent.com/privacytrustlab/datasets/master/dataset_location.tgz",
    "https://github.com/privacytrustlab/datasets/raw/master/dataset_location.tgz",
)
SHA256 = "927203f85a868f8ee17a0ded1dc61699efe602167beabe34fbf45b4b1de94b33"
CLASSES = 30
BITS = 446
MEMBERS = 1_000


def load(data_dir: Path | None = None, progress: Progress | None = None) -> Dataset:
    """Return Location30 from its original archive, in `data_dir` or downloaded.

    Raises:
        DataError: if the archive is not available or is not the published one.
    """
    return read(fetch(ARCHIVE, URLS, SHA256, data_dir=data_dir, progress=progress))


def read(archive: Path) -> Dataset:
    """Read an archive in the published format.

    Raises:
        DataError: if the archive or a row in it is damaged.
    """
    name = f"{archive}:bangkok"
    with open_member(archive, "bangkok") as stream:
        lines = bounded_lines(stream, longest_row(BITS), name)
        x, y = read_label_first(lines, name=name, classes=CLASSES, width=BITS)
    return Dataset(
        name="location30",
        records=Records(torch.from_numpy(x), torch.from_numpy(y), torch.arange(len(y))),
        num_classes=CLASSES,
        features="binary",
        recipe="location30",
        n_members=MEMBERS,
        source=f"Location30, {len(y):,} records of {ARCHIVE} (GitHub privacytrustlab/datasets)",
    )
