from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from selena.data.download import fetch
from selena.errors import DataError
from tests.data.flaky_site import Site, serve

CONTENT = np.random.default_rng(0).bytes(300_000)
DIGEST = sha256(CONTENT).hexdigest()
HALF = 150_000


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    with serve() as site:
        site.files["set.tgz"] = CONTENT
        yield site


def ask(site: Site, cache: Path, *paths: str, checksum: str | None = DIGEST) -> bytes:
    urls = [site.url(path) for path in paths or ["set.tgz"]]
    return fetch("set.tgz", urls, checksum, cache_dir=cache).read_bytes()


def test_broken_download_goes_on_at_once(site: Site, tmp_path: Path) -> None:
    site.breaks["set.tgz"] = [HALF]
    assert ask(site, tmp_path) == CONTENT
    first, second = site.requests
    assert (first.range, first.status, first.sent) == (None, 200, HALF)
    # requests hands over what arrived in whole blocks: the last, unfinished one is asked anew.
    assert second.range is not None
    start = int(second.range.removeprefix("bytes=").removesuffix("-"))
    assert HALF - (1 << 16) <= start <= HALF
    assert (second.status, second.sent) == (206, len(CONTENT) - start)
    assert [path.name for path in tmp_path.iterdir()] == ["set.tgz"]


def test_killed_download_goes_on_at_the_next_call(site: Site, tmp_path: Path) -> None:
    site.breaks["set.tgz"] = [HALF, 0]
    with pytest.raises(DataError, match="Cannot download"):
        ask(site, tmp_path)
    kept = (tmp_path / ".set.tgz.part").stat().st_size
    assert kept > 0
    site.requests.clear()
    assert ask(site, tmp_path) == CONTENT
    assert [(r.range, r.sent) for r in site.requests] == [(f"bytes={kept}-", len(CONTENT) - kept)]


def test_server_that_breaks_off_forever_is_given_up(site: Site, tmp_path: Path) -> None:
    site.breaks["set.tgz"] = [70_000] * 2 + [0] * 20
    with pytest.raises(DataError, match=r"set\.tgz"):
        ask(site, tmp_path)
    assert len(site.requests) == 3


def test_changed_file_starts_over(site: Site, tmp_path: Path) -> None:
    site.breaks["set.tgz"] = [HALF, 0]
    with pytest.raises(DataError):
        ask(site, tmp_path, checksum=None)
    site.files["set.tgz"] = CONTENT[::-1]
    assert ask(site, tmp_path, checksum=None) == CONTENT[::-1]
    assert site.requests[-1].status == 200


@pytest.mark.parametrize("switch", ["names_versions", "knows_ranges"])
def test_server_that_cannot_resume_sends_all_again(site: Site, tmp_path: Path, switch: str) -> None:
    setattr(site, switch, False)
    site.breaks["set.tgz"] = [HALF]
    assert ask(site, tmp_path) == CONTENT
    assert [r.status for r in site.requests] == [200, 200]


def test_part_of_one_mirror_is_not_joined_to_anothers(site: Site, tmp_path: Path) -> None:
    site.files["mirror/set.tgz"] = CONTENT
    site.breaks["set.tgz"] = [HALF, 0]
    assert ask(site, tmp_path, "set.tgz", "mirror/set.tgz") == CONTENT
    assert (site.requests[-1].path, site.requests[-1].range) == ("mirror/set.tgz", None)


def test_whole_part_is_fetched_anew_rather_than_trusted(site: Site, tmp_path: Path) -> None:
    site.breaks["set.tgz"] = [HALF, 0]
    with pytest.raises(DataError):
        ask(site, tmp_path)
    (tmp_path / ".set.tgz.part").write_bytes(CONTENT)
    assert ask(site, tmp_path) == CONTENT
    assert [r.status for r in site.requests[-2:]] == [416, 200]


@pytest.mark.parametrize("facts", ["", "[]", "{}", '{"url": 1}'])
def test_damaged_facts_start_over(site: Site, tmp_path: Path, facts: str) -> None:
    (tmp_path / ".set.tgz.part").write_bytes(b"half")
    (tmp_path / ".set.tgz.part.json").write_text(facts)
    assert ask(site, tmp_path) == CONTENT
    assert site.requests[-1].range is None


def test_missing_on_the_first_mirror(site: Site, tmp_path: Path) -> None:
    assert ask(site, tmp_path, "gone.tgz", "set.tgz") == CONTENT
    assert [r.status for r in site.requests] == [404, 200]


class Bars:
    """A `Progress` that remembers what each bar reached."""

    def __init__(self) -> None:
        self.totals: list[float] = []
        self.reached: list[float] = []

    @contextmanager
    def step(self, description: str, total: float) -> Iterator[Bars]:
        self.totals.append(total)
        self.reached.append(0.0)
        yield self

    def advance(self, amount: float = 1.0) -> None:
        self.reached[-1] += amount


def test_progress_counts_what_was_there_before(site: Site, tmp_path: Path) -> None:
    site.breaks["set.tgz"] = [HALF]
    bars = Bars()
    fetch("set.tgz", [site.url("set.tgz")], DIGEST, cache_dir=tmp_path, progress=bars)
    assert bars.totals == [len(CONTENT)] * 2
    assert bars.reached[0] <= HALF
    assert bars.reached[1] == len(CONTENT)


def test_what_fails_its_check_is_thrown_away_and_the_next_mirror_asked(
    site: Site, tmp_path: Path
) -> None:
    site.files["garbage.tgz"] = b"<html>"

    def check(path: Path) -> None:
        if path.read_bytes() != CONTENT:
            raise DataError("garbage")

    urls = [site.url("garbage.tgz"), site.url("set.tgz")]
    assert fetch("set.tgz", urls, None, cache_dir=tmp_path, check=check).read_bytes() == CONTENT
    with pytest.raises(DataError, match="garbage"):
        fetch("other.tgz", urls[:1], None, cache_dir=tmp_path, check=check)
    assert not (tmp_path / "other.tgz").exists()
