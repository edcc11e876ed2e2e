"""Published sets made ready beforehand: fetched, checked, converted and read once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from selena.data.load import load
from selena.errors import DataError, unknown_name
from selena.types import Dataset
from selena.workspace import Progress

PUBLISHED = ("purchase100", "texas100", "cifar100", "cifar10", "location30")
"""The registered sets that have to be fetched."""

ALL = "all"
"""Stands for all of them."""


def prepare(
    names: Sequence[str], *, data_dir: Path | None = None, progress: Progress | None = None
) -> Iterator[Dataset]:
    """Make published sets ready, and yield each as soon as it is.

    A set that cannot be had does not keep the others from being prepared.

    Args:
        names: of `PUBLISHED`, or `ALL`.
        data_dir: folder that holds the sets' archives; without it they are downloaded into the
            cache.
        progress: who shows downloads and conversions.

    Raises:
        ConfigError: if a name is unknown; nothing is prepared then.
        DataError: after all others, if a set cannot be had; the message names the addresses to
            fetch it from by hand.
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
