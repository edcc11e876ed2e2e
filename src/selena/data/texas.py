"""Texas100: 67,330 hospital stays as 6,169 bits, 100 classes (Shokri et al. 2017).

Made from the Texas Department of State Health Services' discharge records; a class is one of the
hundred most frequent procedures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

from selena.data.archives import open_member
from selena.data.label_first import Block, label_first_blocks, longest_row
from selena.data.published_bits import PublishedBits
from selena.errors import DataError
from selena.files.reading import bounded_lines

_FEATURES = "texas/100/feats"
_LABELS = "texas/100/labels"
_CLASSES = 100
_BITS = 6_169
_LABEL_BYTES = 64


def blocks(archive: Path) -> Iterator[Block]:
    """Read an archive in the published format: one file of labels, one of CSV bits.

    Raises:
        DataError: if the archive or a row in it is damaged.
    """
    with open_member(archive, _LABELS) as labels, open_member(archive, _FEATURES) as features:
        yield from label_first_blocks(
            _joined(
                bounded_lines(labels, _LABEL_BYTES, f"{archive}:{_LABELS}"),
                bounded_lines(features, longest_row(_BITS), f"{archive}:{_FEATURES}"),
                archive,
            ),
            name=f"{archive}:{_LABELS},{_FEATURES}",
            classes=_CLASSES,
            width=_BITS,
        )


def _joined(labels: Iterable[bytes], features: Iterable[bytes], archive: Path) -> Iterator[bytes]:
    """Put each label before its record's bits."""
    for row, (label, bits) in enumerate(zip_longest(labels, features), start=1):
        if label is None or bits is None:
            raise DataError(
                f"{archive}: {_LABELS} and {_FEATURES} have different numbers of rows; "
                f"{_LABELS if label is None else _FEATURES} ends before row {row}. Fetch the "
                "archive again."
            )
        yield label.strip() + b"," + bits


TEXAS100 = PublishedBits(
    name="texas100",
    archive="dataset_texas.tgz",
    urls=(
        "https://www.comp.nus.edu.sg/~reza/files/dataset_texas.tgz",
        "https://raw.githubusercontent.com/privacytrustlab/datasets/master/dataset_texas.tgz",
    ),
    blocks=blocks,
    width=_BITS,
    num_classes=_CLASSES,
    records=67_330,
    members=10_000,
)
