"""Reads files of a .tar.gz archive, one as a stream or several at once.

Nothing is extracted to the disk, so no path inside an archive can overwrite a file.
"""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from selena.errors import DataError
from selena.files.reading import border, check_is_file, check_unpacked


@contextmanager
def open_member(archive: Path, member: str) -> Iterator[BufferedReader]:
    """Open the file `member` of `archive` for reading, for the length of a `with` block.

    Afterwards the rest of the archive is read too, because its checksum is at the end. So damaged
    bytes are an error even if the block did not notice them.

    Raises:
        DataError: if the archive is absent, truncated or corrupted, or holds no regular file
            of that name.
    """
    with _opened(archive) as tar:
        yield _stream(tar, _find(tar, archive, member), archive)


def read_members(archive: Path, members: Collection[str]) -> dict[str, bytes]:
    """Return the contents of the files `members`, if `archive` holds them, in one pass.

    Raises:
        DataError: if the archive is absent, truncated or corrupted, or one of `members` is no
            regular file.
    """
    with _opened(archive) as tar:
        return {
            name: _stream(tar, entry, archive).read()
            for entry in tar
            if (name := _name(entry)) in members
        }


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    check_is_file(archive)
    with (
        border(archive, "the archive is truncated or corrupted", "Fetch it again."),
        _Counted(archive) as unzipped,
        tarfile.open(fileobj=unzipped, mode="r|") as tar,
    ):
        try:
            yield tar
        finally:
            # Also after an error: if bytes are damaged, the checksum error explains it best.
            while unzipped.read(1 << 20):
                pass


class _Counted(gzip.GzipFile):
    """The unpacked stream of an archive; reading beyond the size limit is an error."""

    def __init__(self, archive: Path) -> None:
        super().__init__(archive)
        self._packed, self._unpacked = archive.stat().st_size, 0

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        self._unpacked += len(content)
        check_unpacked(self.name, self._unpacked, self._packed, "the archive")
        return content


def _find(tar: tarfile.TarFile, archive: Path, member: str) -> tarfile.TarInfo:
    seen = []
    for entry in tar:
        if _name(entry) == member:
            return entry
        seen.append(_name(entry))
    raise DataError(
        f"{archive}: holds no file {member!r}, only {', '.join(seen[:10]) or 'nothing'}. "
        "Is it another archive?"
    )


def _name(entry: tarfile.TarInfo) -> str:
    return entry.name.removeprefix("./")


def _stream(tar: tarfile.TarFile, entry: tarfile.TarInfo, archive: Path) -> BufferedReader:
    # Links are refused: extractfile would follow them to another entry. So are files with holes,
    # which may be of any size.
    if not entry.isreg() or entry.issparse():
        raise DataError(f"{archive}: {_name(entry)!r} is not a regular file. Fetch it again.")
    packed = archive.stat().st_size
    check_unpacked(archive, entry.size, packed, f"its file {_name(entry)!r}")
    stream = tar.extractfile(entry)
    assert isinstance(stream, BufferedReader)  # as for any regular file
    return stream
