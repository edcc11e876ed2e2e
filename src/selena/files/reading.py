"""Common parts of all readers of files: limits on sizes, and one kind of error."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from io import BufferedReader
from pathlib import Path

from selena.errors import ConfigError, DataError, SelenaError

_PREFIX = "SELENA_MAX_"
# Size to which any file may unpack, because constant columns compress a thousandfold.
_FREE = 1 << 28


@dataclass(frozen=True)
class Limits:
    """Limits for one file; SELENA_MAX_BYTES in the environment sets `bytes`, and so on.

    Attributes:
        bytes: memory for the contents of a file.
        rows: rows of an array or table.
        ratio: how many times its own size a file may unpack to, beyond the first 256 MiB.
        line: bytes of one row of a text file.
        depth: parts of one dotted name in a settings file.
        settings: bytes of a settings file.
    """

    bytes: int = 1 << 36
    rows: int = 1 << 28
    ratio: int = 200
    line: int = 1 << 24
    depth: int = 100
    settings: int = 1 << 20

    @classmethod
    def from_environment(cls) -> Limits:
        """Return the current limits.

        Raises:
            ConfigError: a variable is no whole number above 0.
        """
        values = {}
        for field in fields(cls):
            given = os.environ.get(_PREFIX + field.name.upper())
            if given is None:
                continue
            if not (given.isascii() and given.isdigit() and 0 < len(given) < 20 and int(given)):
                raise ConfigError(
                    f"{_PREFIX}{field.name.upper()}={given[:40]!r} in the environment is no whole "
                    "number above 0."
                )
            values[field.name] = int(given)
        return cls(**values)


def check_limit(where: object, limit: str, amount: int, what: str) -> None:
    """Raise `DataError` if `amount` exceeds a limit.

    Args:
        where: the file, and the place in it.
        limit: name of a field of `Limits`.
        amount: the amount in the file.
        what: start of the message, such as "the array 'x' has".
    """
    allowed = getattr(Limits.from_environment(), limit)
    if amount > allowed:
        raise DataError(
            f"{where}: {what} {amount:,} {_UNITS[limit]}, and the limit is {allowed:,}. If you "
            f"trust the file, raise {_PREFIX}{limit.upper()} in the environment."
        )


_UNITS = {
    "bytes": "bytes",
    "rows": "rows",
    "ratio": "times its own size",
}


def check_unpacked(where: object, unpacked: int, packed: int, what: str) -> None:
    """Raise `DataError` if `unpacked` bytes are too many, or too many for `packed` bytes."""
    check_limit(where, "bytes", unpacked, f"{what} would take")
    if unpacked > _FREE:
        check_limit(where, "ratio", unpacked // max(packed, 1), f"{what} would unpack to")


@contextmanager
def border(
    where: object, complaint: str, fix: str = "", error: type[SelenaError] = DataError
) -> Iterator[None]:
    """Turn any exception of a parser in the block into an error that names the file.

    Args:
        where: the file, and the place in it.
        complaint: what is wrong, such as "this is no Parquet file, or a damaged one".
        fix: what to do, in one sentence.
        error: the class of the error.
    """
    try:
        yield
    except SelenaError:
        raise
    except MemoryError as raised:
        raise error(f"{where}: there is too little memory to read it.") from raised
    except RecursionError as raised:
        raise error(f"{where}: {complaint} (it is nested too deeply). {fix}".rstrip()) from raised
    except Exception as raised:  # a parser of damaged bytes may raise anything
        if isinstance(raised, OSError) and raised.errno is not None:
            complaint, fix = "the file cannot be read", ""
        raise error(f"{where}: {complaint} ({described(raised)}). {fix}".rstrip()) from raised


def described(error: BaseException) -> str:
    """Return an error's message in one short line."""
    text = getattr(error, "strerror", None) or str(error)
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= 200 else text[:200] + "..."


def check_is_file(path: Path) -> None:
    """Raise `DataError` unless `path` is a regular file: a pipe or device might never end."""
    with border(path, "the file cannot be read"):
        if path.is_file():
            return
        there = path.exists()
    raise DataError(f"{path}: there is no such file." if not there else f"{path}: this is no file.")


def bounded_lines(stream: BufferedReader, limit: int, name: str) -> Iterable[bytes]:
    """Yield the lines of a stream.

    Raises:
        DataError: a line has more than `limit` bytes.
    """
    row = 0
    while line := stream.readline(limit + 1):
        row += 1
        if len(line) > limit:
            raise DataError(f"{name}, row {row}: the row has more than {limit:,} bytes.")
        yield line
