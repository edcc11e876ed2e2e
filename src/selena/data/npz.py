"""Reads NumPy archives (`.npz`) of plain numbers or text; pickles and objects are refused."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selena.data.cells import listed
from selena.errors import DataError
from selena.files.reading import border, check_is_file, check_limit, check_unpacked

_SUFFIX = ".npy"
_PLAIN = "buifcUSMm"  # NumPy's kinds of plain values, without objects
_HEADER = 4096  # bytes of text that describe an array
_DIMENSIONS = 32

Array = NDArray[Any]


def read_npz(
    path: Path, wanted: Iterable[str | tuple[str, ...]], maybe: Iterable[str] = ()
) -> dict[str, Array]:
    """Read some arrays of an `.npz` file, by name and in this order.

    The size of an array is read from its header and checked before memory is allocated.

    Args:
        path: the file.
        wanted: names of arrays. An array may have alternative names; the result uses the first.
        maybe: names of optional arrays.

    Raises:
        DataError: the file is absent, damaged, too large, or lacks a wanted array, or one holds
            objects.
    """
    check_is_file(path)
    # np.load also accepts a .npy file, and its message for unknown formats speaks of pickles.
    if not zipfile.is_zipfile(path):
        raise DataError(
            f"{path}: this is no .npz archive, or it is damaged. Write it with numpy.savez."
        )
    with (
        border(path, "the file is damaged or holds objects", "Write it with numpy.savez."),
        zipfile.ZipFile(path) as archive,
    ):
        names = [name.removesuffix(_SUFFIX) for name in archive.namelist()]
        found: dict[str, str] = {}
        for each in wanted:
            called = (each,) if isinstance(each, str) else each
            there = [name for name in called if name in names]
            if not there:
                raise DataError(
                    f"{path}: there is no array {' or '.join(map(repr, called))}, only "
                    f"{listed(names) or 'nothing'}. Add it with numpy.savez."
                )
            found[called[0]] = there[0]
        found |= {name: name for name in maybe if name in names}
        return {name: _read(archive, path, there) for name, there in found.items()}


def _read(archive: zipfile.ZipFile, path: Path, name: str) -> Array:
    entry = archive.getinfo(name + _SUFFIX if name + _SUFFIX in archive.namelist() else name)
    where = f"{path}, array {name!r}"
    with border(where, "it is damaged or holds objects", "Write the file with numpy.savez."):
        with archive.open(entry) as stream:
            shape, kind = _header(stream)
            start = stream.tell()
        if kind.hasobject or kind.kind not in _PLAIN:
            raise DataError(f"{where} holds objects ({kind}), not numbers or text.")
        size = prod(shape) * kind.itemsize
        if start + size != entry.file_size:
            raise DataError(
                f"{where} is damaged: its header says {size:,} bytes, and there are "
                f"{entry.file_size - start:,}. Write the file with numpy.savez."
            )
        rows = prod(shape[:1]) if size else prod(shape)  # empty values need a limit, too
        check_limit(where, "rows", rows, "it has")
        check_unpacked(where, size, entry.compress_size, "it")
        with archive.open(entry) as stream:
            array: Array = np.lib.format.read_array(
                stream, allow_pickle=False, max_header_size=_HEADER
            )
        return _plain(array)


def _header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of the array that a stream holds."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, kind = np.lib.format.read_array_header_1_0(stream, max_header_size=_HEADER)
    elif version == (2, 0):
        shape, _, kind = np.lib.format.read_array_header_2_0(stream, max_header_size=_HEADER)
    else:
        raise ValueError(f"arrays of version {version} hold fields")
    if len(shape) > _DIMENSIONS or any(type(size) is not int or size < 0 for size in shape):
        raise ValueError(f"no array has the shape {str(shape)[:100]}")
    return shape, kind


def _plain(array: Array) -> Array:
    """Return an array in this machine's byte order; raise `ValueError` for invalid text."""
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if array.dtype.kind == "U" and array.size and array.dtype.itemsize:
        points = np.ascontiguousarray(array).reshape(-1).view(np.uint32)
        if bool(((points > 0x10FFFF) | ((points >= 0xD800) & (points < 0xE000))).any()):
            raise ValueError("its text is no Unicode")
    return array
