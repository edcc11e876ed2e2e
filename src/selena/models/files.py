"""Reads members or non-members from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from selena.data.labels import check_words, spelled_numbers
from selena.data.npz import read_npz
from selena.data.open_table import unknown_suffix
from selena.data.table import read_table
from selena.files.reading import border, check_is_file

_LABEL = "label"


def read_records(
    path: Path | str, *, label_column: str = _LABEL, subject_column: str | None = None
) -> tuple[Shaped[np.ndarray, "..."], ...]:
    """Return features and labels of an `.npz`, `.csv` or `.parquet` file, as `audit` takes them.

    `.npz` holds `x`, n x anything, and `y`, n. In a table, `label_column` holds the labels and all
    other columns are features, n x d as float32. Labels become int64 if all are whole numbers,
    else they stay as they are. With `subject_column`, the column (or array) of subject ids, the
    ids are returned third.

    Raises:
        DataError: the file is absent, damaged, of another kind, or lacks something.
    """
    path = Path(path).expanduser()
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".npz", ".parquet"):
        raise unknown_suffix(path)
    check_is_file(path)
    with border(path, "the file is damaged"):
        if suffix == ".npz":
            # Arrays of any shape: images too, unlike a table's.
            wanted = ["x", "y", *([subject_column] if subject_column is not None else [])]
            arrays = read_npz(path, wanted)
            x, y, *subjects = (arrays[name] for name in wanted)
            check_words(y, lambda index: f"{path}, row {index + 1}")
        else:
            table = read_table(path, label_column, subject_column)
            x, y = table.features, table.labels
            subjects = [] if table.subjects is None else [table.subjects]
            check_words(y, lambda index: f"{path}, row {table.row(index)}")
        return x, _whole(y), *subjects


def _whole(labels: np.ndarray) -> np.ndarray:
    """Return labels as int64 if all are whole numbers, written as numbers or as text."""
    if labels.dtype.kind not in "buifU":
        return labels
    numbers = spelled_numbers(labels)
    if numbers is None or not bool((np.abs(numbers) < 2**53).all()):
        return labels  # names, or numbers too large for float64 to hold exactly
    return numbers.astype(np.int64) if bool((numbers == np.rint(numbers)).all()) else labels
