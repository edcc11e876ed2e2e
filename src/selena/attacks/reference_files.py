"""Files of a reference matrix: `.npz`, and tables of one row per record. Nothing is unpickled."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from selena.attacks.reference_copies import Copies
from selena.data.npz import read_npz
from selena.data.open_table import open_table
from selena.data.table_file import place_of
from selena.errors import ConfigError, DataError
from selena.files.reading import border, check_is_file
from selena.files.writing import atomic_path

_COPIES = ("kind", "count", "size", "seed")

Arrays = tuple[Any, Any, Any, Copies | None]


def save_matrix(
    path: Path, confidences: Any, inside: Any, names: Any, copies: Copies | None
) -> None:
    """Write a matrix (see `ReferenceMatrix.save`)."""
    suffix = path.suffix.lower()
    if suffix not in (".npz", ".parquet"):
        raise DataError(f"{path}: a reference matrix is saved as .npz or .parquet. Rename it.")
    if suffix == ".parquet":
        if confidences.ndim == 3:
            raise DataError(f"{path}: a table holds one query per record. Save it as .npz.")
        _write_parquet(path, confidences, inside, names)
        return
    arrays = {"confidences": confidences, "inside": inside}
    if names is not None:
        arrays["names"] = _text(names)
    if copies is not None:
        arrays["copies"] = np.array([str(getattr(copies, name)) for name in _COPIES])
        if copies.scale is not None:
            arrays["scale"] = copies.scale
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def load_matrix(path: Path) -> Arrays:
    """Return the contents of a file (see `ReferenceMatrix.load`).

    Raises:
        DataError: the file is absent, damaged or too large, or a column is missing or invalid.
    """
    check_is_file(path)
    with border(path, "the file is damaged"):
        if path.suffix.lower() != ".npz":
            return _read_table(path)
        found = read_npz(path, ["confidences", "inside"], maybe=["names", "copies", "scale"])
        numbers = found["confidences"]
        if numbers.dtype.kind not in "buif" or found["inside"].dtype.kind not in "buif":
            raise DataError(f"{path}: confidences and inside must be numbers.")
        names = found.get("names")
        copies = _copies(path, found["copies"], found.get("scale")) if "copies" in found else None
        return numbers, found["inside"], None if names is None else _bytes(path, names), copies


def _copies(path: Path, words: Any, scale: Any) -> Copies:
    try:
        kind, count, size, seed = map(str, words.tolist())
        noise = None if scale is None else np.asarray(scale, dtype=np.float32)
        return Copies(kind, int(count), float(size), int(seed), noise)  # type: ignore[arg-type]
    except (ValueError, TypeError, ConfigError) as error:
        raise DataError(
            f"{path}: copies must be kind, count, size and seed ({error}). Write the file with "
            "ReferenceMatrix.save."
        ) from error


def _text(names: Any) -> Any:
    """Return digests in hexadecimal, since NumPy removes zeros at the end of bytes."""
    return np.array([name.ljust(names.dtype.itemsize, b"\0").hex() for name in names.tolist()])


def _bytes(path: Path, names: Any) -> Any:
    try:
        return np.array([bytes.fromhex(name) for name in names.tolist()], dtype=np.bytes_)
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: names must be digests in hexadecimal ({error}).") from error


def _write_parquet(path: Path, confidences: Any, inside: Any, names: Any) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    columns = {f"confidence{run}": row for run, row in enumerate(confidences)}
    columns |= {f"inside{run}": row for run, row in enumerate(inside)}
    if names is not None:
        columns["name"] = _text(names)
    with atomic_path(path) as temporary:
        parquet.write_table(pa.table(columns), temporary)


def _read_table(path: Path) -> Arrays:
    table = open_table(path)
    runs = len({name for name in table.names if re.fullmatch(r"confidence[0-9]{1,6}", name)})
    if not runs:
        raise DataError(
            f"{path}: there is no column confidence0. A reference matrix has one row per record "
            "and, per run, the columns confidence0.. and inside0.. ."
        )
    wanted = [f"{what}{run}" for what in ("confidence", "inside") for run in range(runs)]
    places = [place_of(table.names, name, path, "Name each run once.") for name in wanted]
    words = (
        [place_of(table.names, "name", path, "Name each once.")] if "name" in table.names else []
    )
    cells = table.read(places, words, np.float64)
    names = _bytes(path, cells.words[0]) if words else None
    numbers = cells.numbers.T
    return np.ascontiguousarray(numbers[:runs]), numbers[runs:], names, None
