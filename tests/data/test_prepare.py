from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from selena.cli import app
from selena.data import purchase, texas
from selena.data.prepare import prepare
from selena.errors import ConfigError, DataError
from selena.files.writing import CACHE_VARIABLE
from tests.data import bit_archives
from tests.data.site import Site, serve

MIRROR = "mirror/purchase.tgz"
PURCHASE = purchase.PURCHASE100.archive


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Small archives in the published forms, purchases at two addresses."""
    folder = tmp_path_factory.mktemp("made")
    purchases = bit_archives.purchase(folder / "p", *bit_archives.records(1_000, 600))
    stays = bit_archives.texas(folder / "t", *bit_archives.records(100, 6_169))
    content = purchases.read_bytes()
    return {PURCHASE: content, MIRROR: content, "texas.tgz": stays.read_bytes()}


@pytest.fixture
def site(
    cache: Path, archives: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """A site that stands in for the publishers'."""
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    with serve() as site:
        site.files |= archives
        for module, name, paths in (
            (purchase, "PURCHASE100", (PURCHASE, MIRROR)),
            (texas, "TEXAS100", ("texas.tgz",)),
        ):
            urls = tuple(map(site.url, paths))
            monkeypatch.setattr(module, name, replace(getattr(module, name), urls=urls))
        yield site


def test_sets_are_fetched_and_converted_once(site: Site) -> None:
    datasets = list(prepare(["purchase100", "texas100"]))
    assert [len(dataset.records) for dataset in datasets] == [1_000, 100]
    assert site.asked == [PURCHASE, "texas.tgz"]
    assert len(list(prepare(["purchase100", "texas100"]))) == 2
    assert len(site.asked) == 2


def test_broken_download_is_tried_elsewhere(site: Site) -> None:
    site.breaks[PURCHASE] = [len(site.files[PURCHASE]) - 1_000]
    (dataset,) = prepare(["purchase100"])
    assert len(dataset.records) == 1_000
    assert site.asked == [PURCHASE, MIRROR]


@pytest.mark.parametrize("trouble", ["missing", "html", "truncated", "another archive"])
def test_second_mirror_helps(site: Site, tmp_path: Path, trouble: str) -> None:
    whole = site.files.pop(PURCHASE)
    if trouble == "html":
        site.files[PURCHASE] = b"<html>moved</html>"
    elif trouble == "truncated":
        site.files[PURCHASE] = whole[: len(whole) // 2]
    elif trouble == "another archive":
        site.files[PURCHASE] = site.files["texas.tgz"]
    (dataset,) = prepare(["purchase100"])
    assert len(dataset.records) == 1_000
    assert site.asked == [PURCHASE, MIRROR]


def test_garbage_is_neither_kept_nor_recorded(site: Site, cache: Path) -> None:
    site.files[PURCHASE] = site.files[MIRROR] = b"<html>login</html>"
    with pytest.raises(DataError, match="truncated or corrupted"):
        list(prepare(["purchase100"]))
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_changed_published_archive_is_refused(site: Site, cache: Path) -> None:
    list(prepare(["purchase100"]))
    (cache / PURCHASE).unlink()
    site.files[PURCHASE] = site.files[MIRROR] = site.files["texas.tgz"]
    with pytest.raises(DataError, match="delete .*" + PURCHASE) as caught:
        list(prepare(["purchase100"]))
    assert "does not match the known hash" in str(caught.value)


def evil(*, link: bool) -> bytes:
    """An archive whose names point out of the folder, or whose wanted file is a link."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz", compresslevel=1) as tar:
        for name in ("../evil", "/tmp/selena-evil", "folder/../../evil"):
            entry = tarfile.TarInfo(name)
            entry.size = 4
            tar.addfile(entry, io.BytesIO(b"evil"))
        bits, labels = bit_archives.records(100, 600)
        rows = zip(labels.tolist(), bit_archives.text(bits), strict=True)
        content = b"".join(b"%d,%s\n" % row for row in rows)
        entry = tarfile.TarInfo("dataset_purchase")
        if link:
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/hostname"
        else:
            entry.size = len(content)
        tar.addfile(entry, None if link else io.BytesIO(content))
    return made.getvalue()


def test_no_path_leaves_the_folder(site: Site, cache: Path, tmp_path: Path) -> None:
    site.files[PURCHASE] = evil(link=False)
    before = {path for path in tmp_path.rglob("*") if cache not in path.parents}
    (dataset,) = prepare(["purchase100"])
    assert len(dataset.records) == 100
    after = {path for path in tmp_path.rglob("*") if cache not in path.parents}
    assert after - before <= {cache}
    assert not Path("/tmp/selena-evil").exists()
    assert sorted(path.parent.name for path in cache.rglob("*") if path.is_file()) == [
        "cache",
        "cache",
        "prepared",
        "prepared",
    ]


def test_link_is_not_followed(site: Site) -> None:
    site.files[PURCHASE] = site.files[MIRROR] = evil(link=True)
    with pytest.raises(DataError, match="'dataset_purchase' is not a regular file"):
        list(prepare(["purchase100"]))


def test_a_set_that_fails_does_not_keep_the_others(site: Site) -> None:
    del site.files[PURCHASE], site.files[MIRROR]
    prepared = prepare(["purchase100", "texas100"])
    assert next(prepared).name == "texas100"
    with pytest.raises(DataError, match="Fetch it by hand") as caught:
        next(prepared)
    assert site.url(MIRROR) in str(caught.value)


def test_unknown_set(cache: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'texas100'"):
        list(prepare(["texas10"]))
    with pytest.raises(ConfigError, match="Unknown published data set 'digits'"):
        list(prepare(["digits"]))


def test_command(site: Site, cache: Path) -> None:
    result = CliRunner().invoke(app, ["prepare", "purchase100", "texas100"])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[:2] == [
        "purchase100: 1,000 records of 600, 100 classes",
        "texas100: 100 records of 6169, 100 classes",
    ]


def test_command_with_archives_at_hand(cache: Path, tmp_path: Path) -> None:
    bit_archives.purchase(tmp_path / PURCHASE, *bit_archives.records(100, 600))
    result = CliRunner().invoke(app, ["prepare", "purchase100", "--data-dir", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert not (cache / PURCHASE).exists()
    result = CliRunner().invoke(app, ["prepare", "texas100", "--data-dir", str(tmp_path)])
    assert isinstance(result.exception, DataError)
    assert texas.TEXAS100.urls[0] in str(result.exception)
