"""Members or non-members from a file."""

from __future__ import annotations

import zlib
from pathlib import Path
from zipfile import BadZipFile, is_zipfile

import numpy as np
from jaxtyping import Shaped

from selena.data.tabular import READERS
from selena.errors import DataError

_LABEL = "label"


def read_records(
    path: Path | str, *, label_column: str = _LABEL, group_column: str | None = None
) -> tuple[Shaped[np.ndarray, "..."], ...]:
    """Return features and labels of an `.npz`, `.csv` or `.parquet` file, as `audit` takes them.

    `.npz` holds `x`, n x anything, and `y`, n. Of a table, `label_column` holds the labels and
    all other columns are features, n x d as float32. Labels that all are whole numbers come as
    int64, others as they are. Third come groups, where `group_column` names the column (or array)
    that says whose each record is.

    Raises:
        DataError: the file is absent, damaged, of another kind, or lacks something.
        ConfigError: Parquet support is not installed.
    """
    path = Path(path).expanduser()
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise DataError(
            f"{path}: unknown kind of file {path.suffix!r}. Known: {', '.join(sorted(READERS))}."
        )
    if not path.is_file():
        raise DataError(f"{path}: there is no such file.")
    if suffix == ".npz":
        x, y, *groups = _read_npz(path, group_column)
    else:
        table = READERS[suffix](path, label_column, group_column)
        x, y = table.features, table.labels
        groups = [] if table.groups is None else [table.groups]
    return x, _whole(y), *groups


def _read_npz(path: Path, group_array: str | None) -> list[np.ndarray]:
    """Read arrays of any shape: images too, unlike a table's."""
    if not is_zipfile(path):  # np.load would leave the file open
        raise DataError(f"{path} is damaged or no .npz archive. Write it with numpy.savez.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = ["x", "y"] if group_array is None else ["x", "y", group_array]
            missing = [name for name in names if name not in archive.files]
            if missing:
                raise DataError(
                    f"{path} lacks {' and '.join(missing)}; it holds {', '.join(archive.files)}. "
                    "Write it with numpy.savez(path, x=features, y=labels)."
                )
            return [archive[name] for name in names]
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged or holds objects ({error}).") from error


def _whole(labels: np.ndarray) -> np.ndarray:
    """Return labels that all are whole numbers, also spelled ones, as int64."""
    try:
        numbers = labels.astype(np.float64)
    except ValueError:
        return labels  # names
    whole = np.isfinite(numbers).all() and (numbers == np.rint(numbers)).all()
    return numbers.astype(np.int64) if whole else labels
