from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import md5, sha256
from pathlib import Path

import pytest

from selena.data.download import fetch
from selena.errors import DataError
from selena.files.writing import CACHE_VARIABLE, cache_folder
from tests.data.site import Site, serve

CONTENT = bytes(range(256)) * 40
DIGEST = sha256(CONTENT).hexdigest()
NOBODY = "http://127.0.0.1:1/set.tgz"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    with serve() as site:
        site.files |= {"set.tgz": CONTENT, "wrong.tgz": CONTENT[:-1]}
        yield site


class Recorder:
    """A `Progress` that remembers."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, float]] = []
        self.closed = 0
        self.reached = 0.0

    @contextmanager
    def step(self, description: str, total: float) -> Iterator[Recorder]:
        self.opened.append((description, total))
        yield self
        self.closed += 1

    def advance(self, amount: float = 1.0) -> None:
        self.reached += amount


def test_download_is_verified_and_kept(site: Site, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    path = fetch("set.tgz", [site.url("set.tgz")], DIGEST, cache_dir=cache)
    assert path == cache / "set.tgz"
    assert path.read_bytes() == CONTENT
    # The second time nobody is asked.
    assert fetch("set.tgz", [NOBODY], DIGEST, cache_dir=cache) == path


def test_progress_is_shown_up_to_the_total(site: Site, tmp_path: Path) -> None:
    bar = Recorder()
    fetch("set.tgz", [site.url("set.tgz")], DIGEST, cache_dir=tmp_path / "cache", progress=bar)
    assert bar.opened == [("Downloading set.tgz", len(CONTENT))]
    assert bar.closed == 1
    assert bar.reached == len(CONTENT)


@pytest.mark.parametrize("bad", ["wrong.tgz", "gone.tgz"])
def test_mirrors_are_tried_in_turn(site: Site, tmp_path: Path, bad: str) -> None:
    urls = [NOBODY, site.url(bad), site.url("set.tgz")]
    path = fetch("set.tgz", urls, DIGEST, cache_dir=tmp_path / "cache")
    assert path.read_bytes() == CONTENT


def test_wrong_download_leaves_nothing(site: Site, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(DataError, match=r"wrong\.tgz") as caught:
        fetch("set.tgz", [site.url("wrong.tgz")], DIGEST, cache_dir=cache)
    assert "SHA256" in str(caught.value)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("checksum", [DIGEST, None])
def test_download_that_breaks_off_is_tried_again(
    site: Site, tmp_path: Path, checksum: str | None
) -> None:
    site.breaks["set.tgz"] = [5_000]
    path = fetch("set.tgz", [site.url("set.tgz")], checksum, cache_dir=tmp_path / "cache")
    assert path.read_bytes() == CONTENT
    assert site.asked == ["set.tgz"] * 2


@pytest.mark.parametrize("checksum", [DIGEST, None])
def test_part_of_a_file_is_not_believed(site: Site, tmp_path: Path, checksum: str | None) -> None:
    cache = tmp_path / "cache"
    site.breaks["set.tgz"] = [5_000] * 2
    with pytest.raises(DataError, match="Cannot download"):
        fetch("set.tgz", [site.url("set.tgz")], checksum, cache_dir=cache)
    assert list(cache.iterdir()) == []


def test_what_fails_its_check_is_thrown_away(site: Site, tmp_path: Path) -> None:
    def check(path: Path) -> None:
        if path.read_bytes() != CONTENT:
            raise DataError("garbage")

    urls = [site.url("wrong.tgz"), site.url("set.tgz")]
    path = fetch("set.tgz", urls, None, cache_dir=tmp_path / "cache", check=check)
    assert path.read_bytes() == CONTENT
    with pytest.raises(DataError, match="garbage"):
        fetch("other.tgz", urls[:1], None, cache_dir=tmp_path / "cache", check=check)
    assert not (tmp_path / "cache" / "other.tgz").exists()


def test_stale_file_in_the_cache_is_fetched_again(site: Site, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "set.tgz").write_bytes(b"half a file")
    path = fetch("set.tgz", [site.url("set.tgz")], DIGEST, cache_dir=cache)
    assert path.read_bytes() == CONTENT


def test_offline_error_says_how_to_download_by_hand(site: Site, tmp_path: Path) -> None:
    urls = [NOBODY, "http://127.0.0.1:1/mirror/set.tgz"]
    with pytest.raises(DataError) as caught:
        fetch("set.tgz", urls, DIGEST, cache_dir=tmp_path)
    message = str(caught.value)
    assert all(url in message for url in urls)
    assert "--data-dir" in message


def test_cache_folder_can_be_named(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache_folder().is_absolute()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "mine"))
    assert fetch("set.tgz", [site.url("set.tgz")], None).parent == tmp_path / "mine"


def test_cache_that_cannot_be_written(site: Site, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DataError, match=CACHE_VARIABLE):
        fetch("set.tgz", [site.url("set.tgz")], DIGEST, cache_dir=tmp_path / "cache")


def test_file_in_the_users_folder(tmp_path: Path) -> None:
    (tmp_path / "set.tgz").write_bytes(CONTENT)
    assert fetch("set.tgz", [NOBODY], DIGEST, data_dir=tmp_path) == tmp_path / "set.tgz"


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT[1:] + b"!"])
def test_wrong_file_in_the_users_folder(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "set.tgz").write_bytes(content)
    with pytest.raises(DataError, match=r"set\.tgz: the file is truncated, changed") as caught:
        fetch("set.tgz", [NOBODY], DIGEST, data_dir=tmp_path)
    assert NOBODY in str(caught.value)


def test_md5_where_the_publisher_gives_no_better(site: Site, tmp_path: Path) -> None:
    checksum = f"md5:{md5(CONTENT).hexdigest()}"
    path = fetch("set.tgz", [site.url("set.tgz")], checksum, cache_dir=tmp_path / "cache")
    assert fetch("set.tgz", [NOBODY], checksum, data_dir=path.parent) == path
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match="truncated, changed"):
        fetch("set.tgz", [NOBODY], checksum, data_dir=path.parent)


def test_no_checksum_no_verification(tmp_path: Path) -> None:
    (tmp_path / "set.tgz").write_bytes(b"anything")
    assert fetch("set.tgz", [NOBODY], None, data_dir=tmp_path).read_bytes() == b"anything"


def test_absent_file_in_the_users_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"set\.tgz: there is no such file") as caught:
        fetch("set.tgz", [NOBODY], DIGEST, data_dir=tmp_path)
    assert NOBODY in str(caught.value)
