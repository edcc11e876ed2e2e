"""The one writer: files are whole or absent, and nothing but regular files is replaced."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
import time
from hashlib import sha256
from pathlib import Path

import pytest

from selena.files import writing as files
from selena.files.writing import (
    atomic_path,
    cache_folder,
    file_sha256,
    is_standard_output,
    json_text,
    sweep,
    together,
    write_json,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "a.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == target.parent  # os.replace is atomic on one file system only
        assert not target.exists()
    assert names(target.parent) == ["a.txt"]
    assert target.read_text() == "whole"


def test_a_failed_block_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"

    def fail_half_way() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert names(tmp_path) == []

    target.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert names(tmp_path) == ["a.txt"]
    assert target.read_text() == "old"


def test_json_is_sorted_and_ends_with_a_newline(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": [0.5, None]})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {"a": [0.5, None], "b": 1}
    assert text.index('"a"') < text.index('"b"')
    assert text.endswith("}\n")


def test_json_has_few_lines_and_loses_nothing() -> None:
    value = {"curve": [[0.25] * 2] * 300, "rows": [{"a": ["x" * 1490], "b": {}}], "n": {2: (1,)}}
    text = json_text(value)
    assert json.loads(text) == {**value, "n": {"2": [1]}}
    assert json_text(json.loads(text)) == text
    assert len(text.splitlines()) == 311
    assert '  "n": {"2": [1]},' in text.splitlines()
    assert json_text([]) == "[]\n"


def test_json_refuses_nan_and_keeps_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert (tmp_path / "a.json").read_text() == "1\n"


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_sha256_of_every_block_boundary(tmp_path: Path, size: int) -> None:
    content = bytes(range(251)) * (size // 251 + 1)
    (tmp_path / "a").write_bytes(content[:size])
    assert file_sha256(tmp_path / "a") == sha256(content[:size]).hexdigest()


def test_text_is_utf8_whatever_a_name_holds(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "ε ≤ 1 \udcff")
    assert (tmp_path / "a").read_bytes() == "ε ≤ 1 \\udcff".encode()


def test_pipes_are_written_through(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_text()))
    reader.start()
    write_text(tmp_path / "pipe", "whole")
    reader.join(10)
    assert got == ["whole"]
    assert stat.S_ISFIFO(os.lstat(tmp_path / "pipe").st_mode)


def test_devices_are_written_through() -> None:
    write_text(Path("/dev/null"), "gone")
    assert stat.S_ISCHR(os.lstat("/dev/null").st_mode)
    if Path("/dev/full").exists():
        with pytest.raises(OSError, match="No space left"):
            write_text(Path("/dev/full"), "too much")


def test_standard_output_is_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "redirected"
    with target.open("wb") as stream:
        found = os.fstat(stream.fileno())
        before = os.fstat
        monkeypatch.setattr(os, "fstat", lambda fd: found if fd == 1 else before(fd))
        assert is_standard_output(target)
        assert not is_standard_output(tmp_path)
        inode = found.st_ino
        monkeypatch.setattr(files, "_standard_stream", lambda found: stream.fileno())
        write_text(target, "whole")
    assert (target.read_text(), target.stat().st_ino) == ("whole", inode)


def test_a_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    for name, old in (("old", True), ("new", False)):
        target, link = tmp_path / "real" / name, tmp_path / name
        if old:
            target.write_text("before")
        link.symlink_to(target)
        write_text(link, "after")
        assert link.is_symlink()
        assert target.read_text() == "after"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_the_mode_of_a_file_stays(tmp_path: Path, mode: int) -> None:
    write_text(tmp_path / "a", "before")
    (tmp_path / "a").chmod(mode)
    with atomic_path(tmp_path / "a") as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) & ~mode == 0  # nobody else reads meanwhile
        temporary.write_text("after")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


def test_a_new_file_has_the_mode_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=tmp_path.name), atomic_path(tmp_path):
        pass


def test_a_file_in_a_closed_folder_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "a", "before and longer")
    inode = (tmp_path / "a").stat().st_ino
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    write_text(tmp_path / "a", "after")
    assert ((tmp_path / "a").read_text(), (tmp_path / "a").stat().st_ino) == ("after", inode)


def test_a_file_that_is_a_mount_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(source: Path, target: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    write_text(tmp_path / "a", "before")
    monkeypatch.setattr(os, "replace", busy)
    write_text(tmp_path / "a", "after")
    assert (tmp_path / "a").read_text() == "after"
    assert names(tmp_path) == ["a"]


def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_text(tmp_path / "a", "before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(tmp_path / "a", "after")
    assert (tmp_path / "a").read_text() == "before"
    assert names(tmp_path) == ["a"]


def test_what_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "something temporary")

    monkeypatch.setattr(files, "_new_temporary", closed)
    with pytest.raises(PermissionError, match=r"a\.json"):
        write_text(tmp_path / "a.json", "")


def test_several_files_appear_together(tmp_path: Path) -> None:
    with together():
        write_text(tmp_path / "a", "1")
        with together():
            write_json(tmp_path / "b", 2)
        assert [name for name in names(tmp_path) if not name.startswith(".")] == []
    assert names(tmp_path) == ["a", "b"]


def test_several_files_or_none(tmp_path: Path) -> None:
    def fail() -> None:
        with together():
            write_text(tmp_path / "a", "new")
            raise KeyboardInterrupt

    write_text(tmp_path / "a", "old")
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_a_stop_between_two_names_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, calls = os.replace, 0

    def stopped(source: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        before(source, target)
        if calls == 1:
            raise KeyboardInterrupt

    def write() -> None:
        with together():
            write_text(tmp_path / "a", "1")
            write_text(tmp_path / "b", "2")

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        write()
    assert names(tmp_path) == ["a", "b"]


def test_threads_write_one_file_without_a_clash(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def write(letter: str) -> None:
        try:
            for _ in range(20):
                write_text(tmp_path / "a", letter * 50_000)
                assert len(set((tmp_path / "a").read_text())) == 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert names(tmp_path) == ["a"]


LEFTOVER = f".selena-{'0' * 16}.part"


def test_leftovers_of_killed_writers_are_removed(tmp_path: Path) -> None:
    for name in (LEFTOVER, ".a.json.123.part", ".selena-x.part"):
        (tmp_path / name).write_text("half")
    write_text(tmp_path / "a", "whole")
    assert names(tmp_path) == [".a.json.123.part", ".selena-x.part", "a"]


def test_files_of_living_writers_are_not_removed(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("whole")
        sweep(tmp_path)
        assert temporary.exists()
    assert names(tmp_path) == ["a"]


def test_without_locks_only_old_leftovers_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object, **__: object) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files, "hold", no_locks)
    for name, age in ((LEFTOVER, 3600), (LEFTOVER.replace("0", "1"), 2 * 24 * 3600)):
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    write_text(tmp_path / "a", "whole")
    assert names(tmp_path) == [LEFTOVER, "a"]


def test_a_home_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(user: int) -> None:
        raise KeyError(user)

    monkeypatch.delenv("SELENA_CACHE")
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert cache_folder().is_dir()
    assert cache_folder().is_absolute()
