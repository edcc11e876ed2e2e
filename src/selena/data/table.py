"""A user's file as it was read, and its way into a `Dataset`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64, Shaped, UInt8

from selena.data.groups import number_groups
from selena.data.labels import encode_labels
from selena.errors import DataError
from selena.types import Dataset, FeatureKind, Records

# How many classes or columns a message lists.
_SHOWN = 10


@dataclass(frozen=True, eq=False)
class Table:
    """Features and labels, with the names that their user knows them by.

    Attributes:
        path: the file.
        features: one row a record.
        labels: as in the file, integers, fractions or strings.
        groups: whose each record is, as in the file, or None.
        columns: name of each feature.
        rows: number of each record in the file, as its user counts.
        num_classes: how many classes the file declares, or None.
    """

    path: Path
    features: Shaped[np.ndarray, "n d"]
    labels: Shaped[np.ndarray, " n"]
    columns: tuple[str, ...]
    rows: Int64[np.ndarray, " n"]
    num_classes: int | None = None
    groups: Shaped[np.ndarray, " n"] | None = None

    def to_dataset(self) -> Dataset:
        """Check the table and make it a data set.

        Features that are all 0 or 1 become bits, all others float32.

        Raises:
            DataError: if there is no record or feature, a feature is not a finite float32, or
                the labels are no classes.
        """
        n, d = self.features.shape
        if n == 0 or d == 0:
            missing = "records" if n == 0 else "feature columns"
            raise DataError(f"{self.path}: there are no {missing}. Give at least one.")
        x, kind = self._features()
        y, names = self._labels()
        groups, whose = None, ""
        if self.groups is not None:
            try:
                groups = torch.from_numpy(number_groups(self.groups))
            except DataError as error:
                raise DataError(f"{self.path}: {error}") from error
            whose = f" in {len(groups[groups >= 0].unique()):,} groups"
        return Dataset(
            name=self.path.name,
            records=Records(torch.from_numpy(x), torch.from_numpy(y), torch.arange(n), groups),
            num_classes=len(names),
            features=kind,
            recipe="tabular",
            members=n // 2,
            source=f"{self.path.name}: {n:,} records{whose}, {d:,} features, classes "
            f"{_listed(names)}",
            class_names=names,
        )

    def _features(
        self,
    ) -> tuple[UInt8[np.ndarray, "n d"] | Float32[np.ndarray, "n d"], FeatureKind]:
        if self.features.dtype.kind == "b" or bool(np.isin(self.features, (0, 1)).all()):
            return self.features.astype(np.uint8), "binary"
        with np.errstate(over="ignore"):  # found below
            x = self.features.astype(np.float32)
        bad = np.argwhere(~np.isfinite(x))
        if len(bad):
            row, column = bad[0]
            raise DataError(
                f"{self.path}, row {self.rows[row]}, column {self.columns[column]!r}: "
                f"{self.features[row, column]} is not a finite float32 number ({len(bad)} such "
                "cells). Remove, impute or rescale them."
            )
        return x, "continuous"

    def _labels(self) -> tuple[Int64[np.ndarray, " n"], tuple[str, ...]]:
        if self.num_classes is None:
            return encode_labels(self.labels, what=f"{self.path}, labels")
        return self._declared_labels(self.num_classes), tuple(map(str, range(self.num_classes)))

    def _declared_labels(self, num_classes: int) -> Int64[np.ndarray, " n"]:
        """Return labels that must be 0..num_classes-1 already."""
        if self.labels.dtype.kind not in "bui":
            raise DataError(
                f"{self.path}: with num_classes declared, labels must be integers from 0 to "
                f"{num_classes - 1}, not {self.labels.dtype}."
            )
        y = self.labels.astype(np.int64)
        wrong = np.flatnonzero((y < 0) | (y >= num_classes))
        if len(wrong):
            raise DataError(
                f"{self.path}, row {self.rows[wrong[0]]}: label {y[wrong[0]]} is out of range; "
                f"with num_classes = {num_classes} labels run from 0 to {num_classes - 1}."
            )
        empty = np.setdiff1d(np.arange(num_classes), y)
        if len(empty):
            raise DataError(
                f"{self.path}: class {empty[0]} is empty: num_classes is {num_classes}, but no "
                "record has this label. Leave num_classes out to number the classes anew."
            )
        return y


@dataclass(frozen=True)
class Columns:
    """What the columns of a table hold.

    Attributes:
        names: of all columns, in order.
        words: position of the "label", and of the "group" where there is one.
    """

    names: tuple[str, ...]
    words: dict[str, int]

    @classmethod
    def find(
        cls, names: Sequence[str], label_column: str, group_column: str | None, path: Path
    ) -> Columns:
        """Find the columns of labels and groups.

        Raises:
            DataError: if none has the name, several have, or both have one name.
        """
        words = {"label": _position(names, label_column, path, "labels with --label-column")}
        if group_column is not None:
            words["group"] = _position(names, group_column, path, "groups with --group-column")
            if group_column == label_column:
                raise DataError(
                    f"{path}: column {label_column!r} cannot hold both labels and groups. Name "
                    "another with --group-column."
                )
        return cls(tuple(names), words)

    @property
    def features(self) -> list[int]:
        """Positions of the features: all other columns."""
        return [i for i in range(len(self.names)) if i not in self.words.values()]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features."""
        return tuple(self.names[i] for i in self.features)


def _position(names: Sequence[str], wanted: str, path: Path, whose: str) -> int:
    found = names.count(wanted)
    if found != 1:
        raise DataError(
            f"{path}: {found or 'no'} columns are called {wanted!r}; the columns are "
            f"{_listed(names)}. Name the one of the {whose}."
        )
    return names.index(wanted)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
