"""Prepares published sets: downloads, checks, converts and reads each once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from selena.data.load import load
from selena.errors import DataError, unknown_name
from selena.types import Dataset
from selena.workspace import Progress

PUBLISHED = ("purchase100", "texas100", "cifar100", "cifar10", "location30")
"""The registered sets that must be downloaded."""

ALL = "all"
"""Name that stands for all of them."""


def prepare(
    names: Sequence[str], *, data_dir: Path | None = None, progress: Progress | None = None
) -> Iterator[Dataset]:
    """Prepare published sets, and yield each as soon as it is ready.

    If a set is not available, the others are prepared nevertheless.

    Args:
        names: names in `PUBLISHED`, or `ALL`.
        data_dir: folder that holds the sets' archives; without it they are downloaded into the
            cache.
        progress: shows downloads and conversions.

    Raises:
        ConfigError: if a name is unknown; nothing is prepared then.
        DataError: after all other sets, if one is not available; the message names the addresses
            to fetch it from by hand.
    """
    for name in names:
        if name not in (*PUBLISHED, ALL):
            raise unknown_name("published data set", name, (*PUBLISHED, ALL))
    failures = []
    for name in PUBLISHED if ALL in names else dict.fromkeys(names):
        try:
            yield load(name, data_dir=data_dir, progress=progress)
        except DataError as error:
            failures.append(str(error))
    if failures:
        raise DataError("\n".join(failures))
