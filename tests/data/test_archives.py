from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from selena.data.archives import open_member, read_members
from selena.errors import DataError
from selena.files import reading

CONTENT = np.random.default_rng(0).bytes(50_000)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return pack(tmp_path / "set.tgz", {"other": b"1", "folder/wanted": CONTENT, "last": CONTENT})


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def read(path: Path, member: str = "folder/wanted") -> bytes:
    with open_member(path, member) as stream:
        return stream.read()


def test_member_is_read(archive: Path) -> None:
    assert read(archive) == CONTENT


def test_several_members_are_read_in_one_pass(archive: Path) -> None:
    found = read_members(archive, {"last", "folder/wanted", "absent"})
    assert found == {"folder/wanted": CONTENT, "last": CONTENT}


def test_leading_dot_does_not_matter(tmp_path: Path) -> None:
    assert read(pack(tmp_path / "dot.tgz", {"./wanted": b"here"}), "wanted") == b"here"


def test_nothing_reaches_the_disk(tmp_path: Path) -> None:
    path = pack(tmp_path / "evil.tgz", {"../up": b"x"})
    before = set(tmp_path.parent.rglob("*"))
    assert read(path, "../up") == b"x"
    assert set(tmp_path.parent.rglob("*")) == before


def test_absent_member_names_what_is_there(archive: Path) -> None:
    with pytest.raises(DataError, match=r"set\.tgz: holds no file 'gone', only other, folder"):
        read(archive, "gone")


def test_absent_archive(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.tgz: there is no such file"):
        read(tmp_path / "none.tgz")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
def test_links_and_folders_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "link.tgz"
    with tarfile.open(path, "w:gz") as tar:
        entry = tarfile.TarInfo("wanted")
        entry.type, entry.linkname = kind, "/etc/hostname"
        tar.addfile(entry)
    with pytest.raises(DataError, match="'wanted' is not a regular file"):
        read(path, "wanted")
    with pytest.raises(DataError, match="'wanted' is not a regular file"):
        read_members(path, {"wanted"})


def test_files_with_holes_are_refused(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("wanted")
    entry.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(entry.tobuf(format=tarfile.GNU_FORMAT))
    header[483:495] = b"\x80" + (1 << 50).to_bytes(11, "big")  # its size: a petabyte
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path = tmp_path / "holes.tgz"
    path.write_bytes(gzip.compress(bytes(header) + bytes(10_240)))
    with pytest.raises(DataError, match="'wanted' is not a regular file"):
        read_members(path, {"wanted"})


def test_what_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(tmp_path / "large.tgz", {"other": bytes(1 << 20), "wanted": b"x"})
    assert read(path, "wanted") == b"x"
    monkeypatch.setattr(reading, "_FREE", 1 << 16)
    with pytest.raises(DataError, match=r"large\.tgz: the archive would unpack to .*_MAX_RATIO"):
        read(path, "wanted")


def flip_a_byte(content: bytes) -> bytes:
    """Random bytes are stored, not compressed: only the checksum at the end can tell."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:40],
        lambda content: content[: len(content) // 2],
        lambda content: content[:-4],
        lambda content: b"<html>not found</html>",
        lambda content: gzip.compress(b"no tar" * 1000),
        flip_a_byte,
    ],
    ids=["empty", "header", "half", "checksum cut", "html", "no tar", "flipped bit"],
)
def test_damage_is_found(archive: Path, damage: Callable[[bytes], bytes]) -> None:
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(DataError, match=r"set\.tgz: the archive is truncated or corrupted"):
        read(archive)
    with pytest.raises(DataError, match=r"set\.tgz: the archive is truncated or corrupted"):
        read_members(archive, {"other"})


def test_damage_goes_before_what_it_broke(archive: Path) -> None:
    archive.write_bytes(flip_a_byte(archive.read_bytes()))
    with (
        pytest.raises(DataError, match="truncated or corrupted"),
        open_member(archive, "folder/wanted"),
    ):
        raise DataError("row 7 is strange")


def test_error_of_the_block_passes(archive: Path) -> None:
    with (
        pytest.raises(DataError, match="row 7 is strange"),
        open_member(archive, "folder/wanted"),
    ):
        raise DataError("row 7 is strange")
