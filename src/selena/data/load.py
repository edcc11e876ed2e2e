"""Loads a registered data set by its name, or a user's own file or folder by its path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from selena.data import cifar, location, purchase, synthetic, texas
from selena.data.image_folder import load_folder
from selena.data.open_table import unknown_suffix
from selena.data.table import RecordTable, read_arrays, read_table
from selena.environment.fingerprint import tensor_digest
from selena.errors import ConfigError, DataError, unknown_name
from selena.files.reading import border, check_is_file
from selena.types import Dataset, Records
from selena.workspace import Progress

READERS: dict[str, Callable[[Path, str, str | None], RecordTable]] = {
    ".csv": read_table,
    ".npz": lambda path, label_column, subject_column: read_arrays(path, subject_column),
    ".parquet": read_table,
}
"""File suffix -> reader; only tables with named columns use the label column."""


def load_file(
    path: Path, *, label_column: str = "label", subject_column: str | None = None
) -> Dataset:
    """Return the records of a file.

    `.npz` holds arrays `x` (or `features`), n x d, and `y` (or `labels`), n, and may declare
    `num_classes`. `.csv` (with a header, UTF-8) and `.parquet` hold one column per feature and
    `label_column`; columns of text are hashed (`selena.data.text_columns`). The column or array
    `subject_column` says which records belong together (`Records.subjects`). Integer or string
    labels are numbered 0..C-1 in their order. Half of the records are members by default.

    Raises:
        DataError: if the file is absent, unreadable or of another kind, or a value in it cannot
            be used for training; the message names the row and column.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise unknown_suffix(path)
    check_is_file(path)
    with border(path, "the file is damaged"):
        return reader(path, label_column, subject_column).to_dataset()


@dataclass(frozen=True)
class LoadOptions:
    """Options of the loaders."""

    data_dir: Path | None
    size: int | None
    progress: Progress | None


DATASETS: dict[str, Callable[[LoadOptions], Dataset]] = {
    "purchase100": lambda wish: purchase.PURCHASE100.load(wish.data_dir, wish.progress),
    "purchase100-synthetic": lambda wish: synthetic.PURCHASE100.load(wish.size),
    "texas100": lambda wish: texas.TEXAS100.load(wish.data_dir, wish.progress),
    "texas100-synthetic": lambda wish: synthetic.TEXAS100.load(wish.size),
    "location30": lambda wish: location.load(wish.data_dir, wish.progress),
    "cifar10": lambda wish: cifar.CIFAR10.load(wish.data_dir, wish.progress),
    "cifar100": lambda wish: cifar.CIFAR100.load(wish.data_dir, wish.progress),
    "digits": lambda wish: load_digits(),
}
"""Registered name -> loader."""

_SIZED = ("purchase100-synthetic", "texas100-synthetic")


def load(
    name_or_path: str | Path,
    *,
    data_dir: str | Path | None = None,
    size: int | None = None,
    label_column: str = "label",
    subject_column: str | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Return the records of a registered data set or of a user's own file or folder.

    Args:
        name_or_path: a name in `DATASETS`; a `.npz`, `.csv` or `.parquet` file; a folder of images
            (see `load_folder`); or a `.tar.gz` archive in the form of CIFAR-10 or CIFAR-100.
        data_dir: folder that holds a registered set's published files; without it they are
            downloaded once.
        size: number of records of a synthetic set.
        label_column: which column of a `.csv` or `.parquet` file holds the labels.
        subject_column: column, or array of an `.npz` file, that holds the subject id of each row
            (person, household, device); None if every row is independent.
        progress: shows a download.

    Raises:
        DataError: if the records are not available or cannot be used.
        ConfigError: if the name is unknown, `size` is given for a set that is not synthetic, or
            `subject_column` for data other than a table.
    """
    name = str(name_or_path)
    if size is not None and name not in _SIZED:
        raise ConfigError(
            f"{name} has a fixed number of records: size is for synthetic sets "
            f"({', '.join(_SIZED)})."
        )
    path = Path(name_or_path).expanduser()
    suffix = path.suffix.lower()
    if subject_column is not None and (name in DATASETS or suffix not in READERS):
        raise ConfigError(
            f"{name} has no column {subject_column!r}: subject_column is for files of "
            f"{', '.join(sorted(READERS))}."
        )
    if name in DATASETS:
        folder = None if data_dir is None else Path(data_dir).expanduser()
        return DATASETS[name](LoadOptions(folder, size, progress))
    if path.is_dir():
        return load_folder(path)
    if path.name.lower().endswith(".tar.gz"):
        return cifar.read(path)
    if suffix in READERS or path.is_file():
        return load_file(path, label_column=label_column, subject_column=subject_column)
    if isinstance(name_or_path, Path) or len(path.parts) > 1:
        raise DataError(
            f"{path}: there is no such file. Give one of {', '.join(sorted(READERS))}, .tar.gz (in "
            "the form of CIFAR), or a folder of images."
        )
    raise unknown_name("data set", name, DATASETS)


def data_digest(records: Records) -> str:
    """Return the SHA-256 (hex) of the shapes, types and bytes of features, labels and subjects."""
    subjects = [] if records.subjects is None else [records.subjects]
    return tensor_digest(records.x, records.y, *subjects)


def load_digits() -> Dataset:
    """Return the 1,797 handwritten digits (8 x 8 gray levels, 10 classes), scaled to [0, 1].

    Source: UCI "Optical Recognition of Handwritten Digits" (Alpaydin, Kaynak 1998), test part.
    """
    from sklearn import datasets

    x, y = datasets.load_digits(return_X_y=True)
    return Dataset(
        name="digits",
        records=Records(
            torch.from_numpy(x).float() / 16, torch.from_numpy(y).long(), torch.arange(len(y))
        ),
        num_classes=10,
        features="continuous",
        recipe="digits",
        n_members=600,
        source="scikit-learn's digits: 1,797 handwritten digits of 8 x 8 pixels (UCI)",
    )
