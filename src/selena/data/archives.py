"""One file out of a .tar.gz archive, as a stream.

Nothing is extracted: no path in an archive can reach the disk, inside its folder or outside.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from selena.errors import DataError

# EOFError: truncated; BadGzipFile: not gzip at all, or a wrong checksum.
_DAMAGE = (EOFError, gzip.BadGzipFile, tarfile.TarError, zlib.error)


@contextmanager
def open_member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    """Open the file `member` of `archive` for reading, for the length of a `with` block.

    Afterwards the rest of the archive is read too, because its checksum stands at the end: a
    block that went well over damaged bytes still fails.

    Raises:
        DataError: if the archive is absent, truncated or corrupted, or holds no regular file
            of that name.
    """
    if not archive.is_file():
        raise DataError(f"{archive}: there is no such file.")
    try:
        with gzip.open(archive) as unzipped, tarfile.open(fileobj=unzipped, mode="r|") as tar:
            try:
                stream = tar.extractfile(_find(tar, archive, member))
                assert stream is not None  # as for any regular file
                yield stream
            finally:
                # Also after an error: where bytes are damaged, that is the thing to say.
                while unzipped.read(1 << 20):
                    pass
    except _DAMAGE as error:
        raise DataError(
            f"{archive}: the archive is truncated or corrupted ({error}). Fetch it again."
        ) from error
    except OSError as error:
        raise DataError(f"{archive}: the archive cannot be read ({error}).") from error


def _find(tar: tarfile.TarFile, archive: Path, member: str) -> tarfile.TarInfo:
    seen = []
    for entry in tar:
        name = entry.name.removeprefix("./")
        if name == member:
            # Links are refused: extractfile would follow them to another entry.
            if not entry.isreg():
                raise DataError(f"{archive}: {member!r} is not a regular file. Fetch it again.")
            return entry
        seen.append(name)
    raise DataError(
        f"{archive}: holds no file {member!r}, only {', '.join(seen[:10]) or 'nothing'}. "
        "Is it another archive?"
    )
