"""A user's table, and its conversion to a `Dataset`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64, Shaped, UInt8
from numpy.typing import NDArray

from selena.data.cells import listed
from selena.data.labels import check_words, encode_labels
from selena.data.npz import read_npz
from selena.data.open_table import open_table
from selena.data.subjects import number_subjects
from selena.data.table_file import place_of
from selena.data.text_columns import INPUTS, hash_column
from selena.errors import DataError
from selena.types import Dataset, FeatureKind, Records

# Names that pandas and R give to a column of row numbers, which is no feature.
_INDEX = ("", "Unnamed: 0")
_PARQUET_INDEX = "__index_level_"
_FEATURES, _LABELS, _CLASSES = ("x", "features"), ("y", "labels"), "num_classes"


@dataclass(frozen=True, eq=False)
class RecordTable:
    """Features and labels of a file, with its names of columns and rows.

    Attributes:
        path: the file.
        features: one row per record.
        labels: as in the file, integers, fractions or strings.
        subjects: subject id of each record, as in the file, or None.
        texts: names of the columns of text, which are hashed (`selena.data.text_columns`).
        columns: name of each feature.
        row: maps a record's index to its row number in the file.
        num_classes: number of classes that the file declares, or None.
    """

    path: Path
    features: Shaped[np.ndarray, "n d"]
    labels: Shaped[np.ndarray, " n"]
    columns: tuple[str, ...]
    row: Callable[[int], int]
    num_classes: int | None = None
    subjects: Shaped[np.ndarray, " n"] | None = None
    texts: tuple[str, ...] = ()

    def to_dataset(self) -> Dataset:
        """Check the table and make it a data set.

        Features that are all 0 or 1 become bits, all others float32.

        Raises:
            DataError: if there is no record or feature, a feature is not a finite float32, or
                the labels are not classes.
        """
        n, d = self.features.shape
        if n == 0 or d == 0:
            missing = "records" if n == 0 else "feature columns"
            raise DataError(f"{self.path}: there are no {missing}. Give at least one.")
        x, kind = self._features()
        y, names = self._labels()
        subjects, whose = None, ""
        if self.subjects is not None:
            try:
                subjects = torch.from_numpy(number_subjects(self.subjects))
            except DataError as error:
                raise DataError(f"{self.path}: {error}") from error
            whose = f" in {len(subjects[subjects >= 0].unique()):,} subjects"
        return Dataset(
            name=self.path.name,
            records=Records(torch.from_numpy(x), torch.from_numpy(y), torch.arange(n), subjects),
            num_classes=len(names),
            features=kind,
            recipe="tabular",
            n_members=n // 2,
            source=f"{self.path.name}: {n:,} records{whose}, {d:,} features{self._hashed}, "
            f"classes {listed(names)}",
            class_names=names,
        )

    @property
    def _hashed(self) -> str:
        if not self.texts:
            return ""
        return f" ({INPUTS} each are hashes of the text in {listed(self.texts)})"

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
                f"{self.path}, row {self.row(int(row))}, column {self.columns[column]!r}: "
                f"{self.features[row, column]} is not a finite float32 number ({len(bad)} such "
                "cells). Remove, impute or rescale them."
            )
        return x, "continuous"

    def _labels(self) -> tuple[Int64[np.ndarray, " n"], tuple[str, ...]]:
        if self.num_classes is None:
            check_words(self.labels, lambda index: f"{self.path}, row {self.row(index)}")
            return encode_labels(self.labels, what=f"{self.path}, labels")
        labels = self._declared_labels(self.num_classes)
        return labels, tuple(map(str, range(self.num_classes)))

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
                f"{self.path}, row {self.row(int(wrong[0]))}: label {y[wrong[0]]} is out of range; "
                f"with num_classes = {num_classes} labels run from 0 to {num_classes - 1}."
            )
        # Among len(y) + 1 classes one is empty, so there is no need to check more.
        empty = np.setdiff1d(np.arange(min(num_classes, len(y) + 1)), y)
        if len(empty):
            raise DataError(
                f"{self.path}: class {empty[0]} is empty: num_classes is {num_classes}, but no "
                "record has this label. Leave num_classes out to number the classes anew."
            )
        return y


def read_table(path: Path, label_column: str, subject_column: str | None = None) -> RecordTable:
    """Read a `.csv` or `.parquet` file: labels, maybe subjects, and all other columns as features.

    Columns of text are hashed (`selena.data.text_columns`); an empty cell of text is a value like
    others. Columns of row numbers from pandas or R (unnamed, or named by pandas) are left out.

    Raises:
        DataError: the file is absent or damaged, a named column is missing, a column of text
            holds names or identifiers, or another column has a missing or non-numeric cell.
    """
    file = open_table(path)
    fix = "Name the one of the {}."
    label = place_of(file.names, label_column, path, fix.format("labels with --label-column"))
    words = [label]
    if subject_column is not None:
        fix = fix.format("subjects with --subject-column")
        words.append(place_of(file.names, subject_column, path, fix))
        if subject_column == label_column:
            raise DataError(
                f"{path}: column {label_column!r} cannot hold both labels and subjects. Name "
                "another with --subject-column."
            )
    features = _features_of(file.names, words)
    texts: list[int] = []
    try:
        cells = file.read(features, words, np.float32)
    except DataError:
        with suppress(DataError):  # other errors of the file were found above
            texts = file.texts(features)
        if not texts:
            raise
        features = [place for place in features if place not in texts]
        cells = file.read(features, [*words, *texts], np.float32, texts)
    names = [file.names[place] for place in features]
    hashed = [
        hash_column(column, file.names[place], path)
        for place, column in zip(texts, cells.words[len(words) :], strict=True)
    ]
    for place in texts:
        names += [f"{file.names[place]} ({i})" for i in range(INPUTS)]
    return RecordTable(
        path=path,
        features=np.concatenate([cells.numbers, *hashed], axis=1) if texts else cells.numbers,
        labels=cells.words[0],
        columns=tuple(names),
        texts=tuple(file.names[place] for place in texts),
        row=file.row,
        subjects=cells.words[1] if subject_column is not None else None,
    )


def _features_of(names: Sequence[str], words: Sequence[int]) -> list[int]:
    return [
        place
        for place, name in enumerate(names)
        if place not in words
        and not name.startswith(_PARQUET_INDEX)
        and not (place == 0 and name in _INDEX)
    ]


def read_arrays(path: Path, subject_array: str | None = None) -> RecordTable:
    """Read an `.npz` file: `x` or `features`, `y` or `labels`, maybe subjects and `num_classes`.

    Rows are counted from 1.

    Raises:
        DataError: if it is damaged, lacks an array, holds objects, or the shapes disagree.
    """
    if subject_array in (*_FEATURES, *_LABELS):
        raise DataError(
            f"{path}: array {subject_array!r} holds features or labels. Name another with "
            "--subject-column."
        )
    wanted: list[str | tuple[str, ...]] = [
        _FEATURES,
        _LABELS,
        *([subject_array] if subject_array is not None else []),
    ]
    arrays = read_npz(path, wanted, maybe=[_CLASSES])
    declared = arrays.pop(_CLASSES, None)
    features, labels, *subjects = arrays.values()
    if features.ndim != 2 or features.dtype.kind not in "buif":
        raise DataError(
            f"{path}: the features have shape {features.shape} and type {features.dtype}; they "
            "must be real numbers, n x d. Use x.reshape(len(x), -1)."
        )
    for what, array, kinds in (
        ("labels", labels, "buifU"),
        *(("subjects", g, "buiU") for g in subjects),
    ):
        if array.shape != features.shape[:1] or array.dtype.kind not in kinds:
            raise DataError(
                f"{path}: the {what} have shape {array.shape} and type {array.dtype}; they must be "
                f"integers or strings, one for each of the {len(features)} records."
            )
    return RecordTable(
        path=path,
        features=features,
        labels=labels,
        columns=tuple(f"x[:, {column}]" for column in range(features.shape[1])),
        row=lambda index: index + 1,
        num_classes=None if declared is None else _scalar(declared, path),
        subjects=subjects[0] if subjects else None,
    )


def _scalar(declared: NDArray[Any], path: Path) -> int:
    if declared.size != 1 or declared.dtype.kind not in "ui" or declared.item() < 2:
        raise DataError(f"{path}: num_classes must be one integer, at least 2.")
    return int(declared.item())
