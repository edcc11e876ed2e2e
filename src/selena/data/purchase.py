"""Purchase100: baskets of 197,324 shoppers as 600 bits, 100 classes (Shokri et al. 2017).

Made from Kaggle's "Acquire Valued Shoppers" by clustering; Tang et al. (2022) train on a random
tenth of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from selena.data.archives import open_member
from selena.data.label_first import Block, label_first_blocks, longest_row
from selena.data.published_bits import PublishedBits
from selena.files.reading import bounded_lines

_CLASSES = 100
_BITS = 600


def blocks(archive: Path) -> Iterator[Block]:
    """Read an archive in the published format: one CSV file, the label first.

    Raises:
        DataError: if the archive or a row in it is damaged.
    """
    name = f"{archive}:dataset_purchase"
    with open_member(archive, "dataset_purchase") as stream:
        lines = bounded_lines(stream, longest_row(_BITS), name)
        yield from label_first_blocks(lines, name=name, classes=_CLASSES, width=_BITS)


PURCHASE100 = PublishedBits(
    name="purchase100",
    archive="dataset_purchase.tgz",
    urls=(
        "https://www.comp.nus.edu.sg/~reza/files/dataset_purchase.tgz",
        "https://raw.githubusercontent.com/privacytrustlab/datasets/master/dataset_purchase.tgz",
    ),
    blocks=blocks,
    width=_BITS,
    num_classes=_CLASSES,
    records=197_324,
    members=19_732,
)
