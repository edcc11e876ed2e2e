"""Published files, from the user's folder or downloaded once into a cache; always verified."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import file_digest
from pathlib import Path

from selena.errors import DataError
from selena.files.writing import CACHE_VARIABLE, cache_folder
from selena.workspace import Progress, Silent

_TIMEOUT_SECONDS = 30
_BLOCK = 1 << 16


def fetch(
    name: str,
    urls: Sequence[str],
    checksum: str | None,
    *,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    check: Callable[[Path], object] | None = None,
) -> Path:
    """Return the path of the published file `name`.

    A download gets its final name only when it is complete.

    Args:
        name: file name, in `data_dir` and in the cache.
        urls: addresses that hold the same file, tried in turn, twice each.
        checksum: its SHA-256 in hex; `md5:` and its MD5, if the publisher gives nothing better; or
            None without a reliable checksum.
        data_dir: folder that holds the file already; nothing is downloaded then.
        cache_dir: folder to download into (default: `cache_folder()`).
        progress: shows the download.
        check: for files without a checksum: raises `DataError` if the downloaded file is wrong.
            That file is then deleted, and the next address tried.

    Raises:
        DataError: if `data_dir` lacks the file or holds a wrong one, or if no address answers
            with the right one.
    """
    if data_dir is not None:
        return _from_folder(name, urls, checksum, data_dir)
    import pooch  # imported here, because it is slow and only downloads need it

    folder = cache_folder() if cache_dir is None else cache_dir
    pooch.get_logger().setLevel("WARNING")  # `progress` already reports the rest
    downloader = partial(_download, f"Downloading {name}", progress or Silent())
    failures: dict[str, Exception] = {}
    for url in [*urls, *urls]:
        try:
            path = Path(
                pooch.retrieve(url, checksum, fname=name, path=folder, downloader=downloader)
            )
        # requests' errors are OSErrors; Pooch reports a wrong checksum as a ValueError.
        except (OSError, ValueError) as error:
            failures[url] = error
            continue
        try:
            if check is not None:
                check(path)
            return path
        except DataError as error:
            path.unlink()
            failures[url] = error
    raise DataError(
        f"Cannot download {name} into {folder}. Tried:\n"
        + "\n".join(f"  {url}\n    ({error})" for url, error in failures.items())
        + f"\nFetch it by hand from one of these addresses, and name its folder with --data-dir "
        f"(or set {CACHE_VARIABLE} if the folder is the trouble)."
    )


def _download(
    description: str, progress: Progress, url: str, output_file: str, pooch: object
) -> None:
    """Download a file for Pooch, and show the progress."""
    import requests

    # Without compression, so that Content-Length counts the bytes of the file.
    headers = {"Accept-Encoding": "identity"}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as answer:
        answer.raise_for_status()
        total = float(answer.headers.get("Content-Length", 0))
        with progress.step(description, total) as bar, Path(output_file).open("wb") as file:
            for block in answer.iter_content(_BLOCK):
                file.write(block)
                bar.advance(len(block))


def _from_folder(name: str, urls: Sequence[str], checksum: str | None, folder: Path) -> Path:
    path = folder / name
    fix = f"Fetch it from {' or '.join(urls)} into {folder}."
    if not path.is_file():
        raise DataError(f"{path}: there is no such file. {fix}")
    if checksum is None:
        return path
    algorithm, _, expected = checksum.rpartition(":")
    try:
        with path.open("rb") as file:
            found = file_digest(file, algorithm or "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: the file cannot be read ({error}).") from error
    if found != expected:
        raise DataError(
            f"{path}: the file is truncated, changed or another one ({path.stat().st_size:,} "
            f"bytes with checksum {found} instead of {expected}). {fix}"
        )
    return path
