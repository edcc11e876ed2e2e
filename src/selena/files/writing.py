"""Writes files atomically: after a failure or power cut a file is the old or the new one.

A regular file is written under a temporary name in the same folder and then renamed. Its mode and
symbolic links to it are kept. Pipes, devices and sockets are written directly. Every file is synced
before it gets its name, and its folder afterwards. Both together cost some ten milliseconds per
file; a run writes one file per trained network and attack.
"""

from __future__ import annotations

import atexit
import errno
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    import fcntl

CACHE_VARIABLE = "SELENA_CACHE"
"""Environment variable that names the cache folder."""

_TEMPORARY = re.compile(r"\.selena-[0-9a-f]{16}\.part")
_OLD = 24 * 3600  # seconds after which a leftover of an unknown owner is removed
_BLOCK = 1 << 20
_LINE = 1500  # characters of JSON
_NO_SYNC = {errno.EINVAL, errno.EACCES, errno.EPERM, errno.EBADF, errno.ENOTSUP}

_swept: set[Path] = set()


def cache_folder() -> Path:
    """Return the folder of downloads and measurements: SELENA_CACHE, or the platform's own."""
    # Imported here, because Pooch loads a progress bar that warns in notebooks.
    import pooch

    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser()
    try:
        folder = Path(pooch.os_cache("selena"))
    except RuntimeError:  # raised by newer versions of platformdirs
        return _without_home()
    return folder if folder.is_absolute() else _without_home()


@cache
def _without_home() -> Path:
    """Return a folder for this process only, if the user has no home."""
    folder = Path(tempfile.mkdtemp(prefix="selena-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@dataclass(eq=False)
class _Part:
    """One file that is being written.

    Attributes:
        path: the requested path.
        place: the regular file that it becomes; None if `path` is written directly.
        before: status of the current file at `place`.
        temporary: the temporary file.
        lock: lock of the temporary file until it is renamed, so that nobody removes it.
    """

    path: Path
    place: Path | None
    before: os.stat_result | None
    temporary: Path
    lock: int

    @classmethod
    def begin(cls, path: Path) -> _Part:
        before: os.stat_result | None = None
        with suppress(FileNotFoundError):
            before = os.stat(path)
        real = Path(os.path.realpath(path))
        if before is None:
            _make_folder(real.parent)
        elif stat.S_ISDIR(before.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        place = real if before is None or _is_replaced(real, before) else None
        folder = Path(tempfile.gettempdir()) if place is None else place.parent
        mode = 0o600 if place is None else 0o666 if before is None else before.st_mode & 0o666
        try:
            temporary, lock = _new_temporary(folder, mode)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
        return cls(path, place, before, temporary, lock)

    def sync(self) -> None:
        """Give it the mode and owner of the file it replaces, and sync it to disk."""
        if self.place is None:
            return
        if self.before is not None:
            with suppress(OSError):
                os.chown(self.temporary, self.before.st_uid, self.before.st_gid)
            os.chmod(self.temporary, stat.S_IMODE(self.before.st_mode))
        _sync(self.temporary)

    def appear(self) -> None:
        """Rename it into its place."""
        if self.place is None:
            return
        try:
            os.replace(self.temporary, self.place)
        except OSError as error:
            if error.errno != errno.EBUSY:  # a file that is a mount point cannot be replaced
                raise
            self.place = None

    def write_through(self) -> None:
        """Copy it into a file that cannot be replaced."""
        if self.place is None:
            stream = _standard_stream(os.stat(self.path))
            target = self.path if stream is None else stream
            with (
                open(self.temporary, "rb") as source,
                open(target, "wb", closefd=stream is None) as sink,
            ):
                shutil.copyfileobj(source, sink, _BLOCK)

    def end(self) -> None:
        """Remove the temporary file, if it still exists."""
        self.temporary.unlink(missing_ok=True)
        with suppress(OSError):
            os.close(self.lock)


@dataclass(eq=False)
class _Batch:
    parts: list[_Part] = field(default_factory=list)

    def commit(self) -> None:
        for part in self.parts:
            part.sync()
        try:
            for part in self.parts:
                part.appear()
        except Exception:
            raise
        except BaseException:  # interrupted between two renames: finish the others first
            for part in self.parts:
                with suppress(FileNotFoundError):
                    part.appear()
            raise
        for folder in {part.place.parent for part in self.parts if part.place is not None}:
            _sync(folder)
        for part in self.parts:  # last, because the reader of a pipe may be gone
            part.write_through()

    def end(self) -> None:
        for part in self.parts:
            part.end()


_open_batch: ContextVar[_Batch | None] = ContextVar("_open_batch", default=None)


@contextmanager
def _batch() -> Iterator[_Batch]:
    """Yield the batch that is open in this thread, or a new one that is written at the end."""
    outer = _open_batch.get()
    if outer is not None:
        yield outer
        return
    batch = _Batch()
    token = _open_batch.set(batch)
    try:
        yield batch
        _open_batch.reset(token)
        batch.commit()
    finally:
        _open_batch.set(None)
        batch.end()


@contextmanager
def together() -> Iterator[None]:
    """Make all files written in the block appear at its end, or none if it fails."""
    with _batch():
        yield


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary file that becomes `path` when the block succeeds.

    Write into this file and do not replace it: a new file would not be locked, and might be removed
    as a leftover. Inside `together` it becomes `path` at the end of that block. Folders are made as
    needed.

    Raises:
        OSError: `path` is a folder or cannot be written.
    """
    with _batch() as batch:
        part = _Part.begin(path)
        batch.parts.append(part)
        try:
            yield part.temporary
        except BaseException:
            batch.parts.remove(part)
            part.end()
            raise


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically.

    A lone surrogate, from an undecodable file name, becomes an escape.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON with sorted keys; NaN is refused."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """Return the text that `write_json` writes.

    A line holds one entry of the outermost object, or a part of up to 1,500 characters. So files
    are short, and a diff shows the attack or the figure that changed.
    """
    plain = json.loads(json.dumps(value, allow_nan=False))  # converts tuples and numeric keys
    return _json_lines(plain, "") + "\n"


def _json_lines(value: Any, indent: str) -> str:
    parts = list(value.values()) if isinstance(value, dict) else value
    outermost = isinstance(value, dict) and not indent
    if not isinstance(parts, list) or not parts:
        return json.dumps(value)
    if not outermost:
        line = json.dumps(value, sort_keys=True)
        if len(line) <= _LINE or not any(isinstance(part, dict | list) for part in parts):
            return line
    deeper = indent + "  "
    if isinstance(value, dict):
        lines = [f"{json.dumps(key)}: {_json_lines(value[key], deeper)}" for key in sorted(value)]
    else:
        lines = [_json_lines(part, deeper) for part in parts]
    first, last = "{}" if isinstance(value, dict) else "[]"
    return f"{first}\n{deeper}" + f",\n{deeper}".join(lines) + f"\n{indent}{last}"


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, as hex."""
    digest = sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def is_standard_output(path: Path) -> bool:
    """Return whether `path` is this process's output stream."""
    with suppress(OSError):
        return _standard_stream(os.stat(path)) == 1
    return False


def sweep(folder: Path) -> None:
    """Remove temporary files in `folder` that killed writers left behind.

    Writing calls it before the first file in a folder. Locked temporary files are kept; without
    locks in the file system, those younger than a day are kept, too.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _TEMPORARY.fullmatch(entry.name):
                _remove_unless_held(entry.path)


def hold(descriptor: int, *, wait: bool = True) -> bool:
    """Lock an open file until it is closed; return False if others hold the lock.

    Raises:
        OSError: the file system has no locks.
    """
    if sys.platform == "win32":
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _is_replaced(place: Path, found: os.stat_result) -> bool:
    """Return whether a file is replaced by a new one; all others are written directly."""
    return (
        stat.S_ISREG(found.st_mode)
        and _standard_stream(found) is None
        and os.access(place.parent, os.W_OK)
    )


def _standard_stream(found: os.stat_result) -> int | None:
    """Return 1 or 2 if the file is that standard stream of this process."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), found):
                return descriptor
    return None


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _new_temporary(folder: Path, mode: int) -> tuple[Path, int]:
    """Create a file of a random name, as `mkstemp` does, with a mode that the umask limits."""
    if folder not in _swept:
        _swept.add(folder)
        sweep(folder)
    while True:
        temporary = folder / f".selena-{os.urandom(8).hex()}.part"
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)
        with suppress(OSError):
            hold(descriptor)
        if os.fstat(descriptor).st_nlink:  # 0 if it was removed before it was locked
            return temporary, descriptor
        os.close(descriptor)


def _remove_unless_held(path: str) -> None:
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        try:
            try:
                dead = hold(descriptor, wait=False)
            except OSError:
                dead = time.time() - os.fstat(descriptor).st_mtime > _OLD
            if dead:
                os.unlink(path)
        finally:
            os.close(descriptor)


def _sync(path: Path) -> None:
    """Sync a file, or the names in a folder, to the disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        if path.is_dir():  # a folder that may be written but not read
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)
