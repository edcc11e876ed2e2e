"""Dictionaries of inputs, and data sets of PyTorch, as records of an audit.

A transformer takes a dictionary of tensors; a training loop has a `Dataset` or a `DataLoader`. A
dictionary stays a dictionary; a data set is read once, in its own order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from selena.errors import DataError

LABELS = ("labels", "label", "y", "target")
"""Keys under which a record of a data set may hold its label."""

_READ_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Parts:
    """A dictionary of containers of one length: the inputs of a model that takes several."""

    values: Mapping[str, Any]
    parts: Mapping[str, Any]

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())))

    def take(self, rows: Int64[np.ndarray, " m"]) -> Any:
        """Return the records at `rows`."""
        return {name: part.take(rows) for name, part in self.parts.items()}

    def join(self, other: Mapping[str, Any]) -> Any:
        """Return these records and then others."""
        if set(other) != set(self.parts):
            raise DataError(
                f"the inputs of members and of non-members differ: {sorted(self.parts)} and "
                f"{sorted(other)}"
            )
        return {name: part.join(other[name]) for name, part in self.parts.items()}

    def numbers(self) -> Shaped[np.ndarray, "n *features"]:
        """Raise `DataError`, since several inputs are not one array."""
        raise DataError("the features are several inputs; only answers to them can be attacked")

    def like(self, numbers: Shaped[np.ndarray, "n *features"]) -> Any:
        """Raise `DataError`, as `numbers` does."""
        raise DataError("numbers are not made several inputs")


def is_dataset(given: object) -> bool:
    """Return whether `given` is a data set of PyTorch or a loader of one."""
    return isinstance(given, DataLoader | Dataset)


def read_dataset(given: Any, what: str) -> tuple[Any, Any]:
    """Return features and labels of a data set, each record once.

    Its records are pairs (x, y), or dictionaries with the labels under one of `LABELS`. A loader is
    read batch by batch. Where the data set changes its records at random, one draw is read.

    Args:
        given: a map-style data set, or a loader of any data set.
        what: names it in messages.

    Raises:
        DataError: no records, no labels, or a data set without a length.
    """
    if isinstance(given, DataLoader):
        batches = list(given)
    elif isinstance(given, IterableDataset) or not hasattr(given, "__len__"):
        raise DataError(f"{what}: the data set cannot be counted. Give a DataLoader of it.")
    else:
        rows = range(len(given))
        batches = [
            default_collate([_plain(given[row]) for row in rows[start : start + _READ_AT_ONCE]])
            for start in rows[::_READ_AT_ONCE]
        ]
    if not batches:
        raise DataError(f"{what}: there are no records. Give at least one.")
    pairs = [_pair_of(batch, what) for batch in batches]
    return _joined([x for x, _ in pairs]), _joined([y for _, y in pairs])


def _plain(record: Any) -> Any:
    """Return a record with its lists of numbers as arrays, since PyTorch transposes lists."""
    if isinstance(record, Mapping):
        return {name: _plain(value) for name, value in record.items()}
    return np.asarray(record) if isinstance(record, list) else record


def _pair_of(batch: Any, what: str) -> tuple[Any, Any]:
    if isinstance(batch, Mapping):
        name = next((name for name in LABELS if name in batch), None)
        if name is None:
            raise DataError(
                f"{what}: the records have {', '.join(map(str, batch))}, and no labels. Call them "
                f"{LABELS[0]!r}."
            )
        return {key: value for key, value in batch.items() if key != name}, batch[name]
    if isinstance(batch, Sequence) and len(batch) == 2:
        return batch[0], batch[1]
    raise DataError(f"{what}: a record must be (x, y) or a dictionary with {LABELS[0]!r}.")


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], Mapping):
        return {name: _joined([part[name] for part in parts]) for name in parts[0]}
    if isinstance(parts[0], torch.Tensor):
        return torch.cat(parts)
    return [each for part in parts for each in part]
