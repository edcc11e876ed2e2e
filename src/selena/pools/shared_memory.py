"""Where arrays lie that worker processes map: a folder per process, cleared whatever ended it.

Training records lie there. A process removes its folder when it ends, on Ctrl-C and SIGTERM too;
one that was killed cannot, so the next one does. A folder whose owner lives is held by a lock.
Earlier versions left joblib's own folders, whose names hold the number of the process.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from selena.files.writing import hold

_MEMORY = Path("/dev/shm")
_ENOUGH = 2_000_000_000
_FOLDER = re.compile(r"selena-shared-[0-9a-f]{16}")
_JOBLIBS = re.compile(r"joblib_memmapping_folder_([0-9]{1,9})_[0-9a-f]{32}_[0-9a-f]{32}")
_OWNER = "owner"
_OLD = 24 * 3600  # seconds; an unfinished folder is removed after them


def shared_folder() -> Path:
    """Return this process's folder, made when it is first asked for."""
    return _folder_of(os.getpid())


@cache
def _folder_of(process: int) -> Path:
    folder, _ = _new_folder()
    atexit.register(_remove, folder, process)
    return folder


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield a folder for the length of a `with` block; it is cleared like the shared one."""
    folder, owner = _new_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(owner)


def _new_folder() -> tuple[Path, int]:
    """Return a new folder, and what holds it until it is closed or the process ends."""
    clear_shared_memory()
    while True:
        folder = _place() / f"selena-shared-{os.urandom(8).hex()}"
        folder.mkdir(mode=0o700)
        owner = os.open(folder / _OWNER, os.O_CREAT | os.O_RDWR, 0o600)
        with suppress(OSError):
            hold(owner)
        if os.fstat(owner).st_nlink:  # else cleared before it was held
            return folder, owner
        os.close(owner)


def clear_shared_memory() -> None:
    """Remove the folders of processes that were killed."""
    place = _place()
    with suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                continue
            joblibs = _JOBLIBS.fullmatch(entry.name)
            with suppress(OSError):
                if _FOLDER.fullmatch(entry.name):
                    _remove_unless_held(place / entry.name)
                elif joblibs and _is_left(entry, int(joblibs[1])):
                    shutil.rmtree(entry.path)


def _place() -> Path:
    """Return where joblib would put them: in memory, if there is enough of it."""
    named = os.environ.get("JOBLIB_TEMP_FOLDER")
    if named:
        return Path(named).expanduser()
    with suppress(OSError, AttributeError):
        space = os.statvfs(_MEMORY)
        if space.f_bsize * space.f_bavail > _ENOUGH and os.access(_MEMORY, os.W_OK):
            return _MEMORY
    return Path(tempfile.gettempdir())


def _remove_unless_held(folder: Path) -> None:
    try:
        owner = os.open(folder / _OWNER, os.O_RDWR)
    except FileNotFoundError:  # its owner is about to make it, or was killed just then
        if time.time() - folder.stat().st_mtime > _OLD:
            shutil.rmtree(folder)
        return
    try:
        if hold(owner, wait=False):
            shutil.rmtree(folder)
    finally:
        os.close(owner)


def _is_left(entry: os.DirEntry[str], process: int) -> bool:
    """Return whether a folder is this user's, and its process is gone."""
    if os.name != "posix" or entry.stat(follow_symlinks=False).st_uid != os.getuid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not a copy of it
        shutil.rmtree(folder, ignore_errors=True)
