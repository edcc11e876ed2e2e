"""Downloads that go on where the last try broke off (HTTP Range requests, RFC 9110, Section 14).

What has arrived lies beside the file it will be, with the server's name of that version of the
file. A resumed request asks for the rest on the condition that the version is still the same
(If-Range); otherwise the server sends the whole file, and the download starts over.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from selena.files import write_json
from selena.workspace import Progress

# Tries that each bring the download further, before it is left to the next call.
_TRIES = 5
_TIMEOUT_SECONDS = 30
_BLOCK = 1 << 16


@dataclass(frozen=True)
class ResumingDownloader:
    """A downloader for Pooch that keeps what has arrived when the connection breaks.

    Attributes:
        partial: file that holds what has arrived, until all has; a second file beside it,
            ending in .json, says what it is part of.
        description: what the progress bar says.
        progress: who shows the download.
    """

    partial: Path
    description: str
    progress: Progress

    def __call__(self, url: str, output_file: str | os.PathLike[str], pooch: object) -> None:
        """Fetch `url` and move it to `output_file` when it is whole.

        Raises:
            OSError: (as all errors of requests are) the server cannot be reached, refuses, or
                breaks off too often; what has arrived is kept.
        """
        for left in reversed(range(_TRIES)):
            before = self._size()
            try:
                self._fetch_rest(url)
                break
            except requests.RequestException:
                if not left or self._size() <= before:
                    raise
        os.replace(self.partial, output_file)
        self._facts.unlink(missing_ok=True)

    @property
    def _facts(self) -> Path:
        return self.partial.with_name(self.partial.name + ".json")

    def _size(self) -> int:
        return self.partial.stat().st_size if self.partial.exists() else 0

    def _fetch_rest(self, url: str) -> None:
        """Ask for what is missing and write it down as it comes."""
        have = self._size()
        version = self._version(url) if have else None
        # Identity: byte positions count the file's own bytes, not those of a compressed transfer.
        headers = {"Accept-Encoding": "identity"}
        if version is not None:
            headers |= {"Range": f"bytes={have}-", "If-Range": version}
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as answer:
            if version and answer.status_code == requests.codes.requested_range_not_satisfiable:
                self._facts.unlink()  # there is no rest: start over
                self._fetch_rest(url)
                return
            answer.raise_for_status()
            start, total = _extent(answer)
            if start == 0:
                write_json(self._facts, {"url": url, "version": _version_named_in(answer)})
            elif start != have:
                raise requests.ConnectionError(f"asked for bytes from {have}, got from {start}")
            self._write(answer, start, total)

    def _version(self, url: str) -> str | None:
        """Return the version that the kept part is of; None where it is of no use for `url`."""
        try:
            facts: dict[str, Any] = json.loads(self._facts.read_text(encoding="utf-8"))
            return facts["version"] if facts["url"] == url else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def _write(self, answer: requests.Response, start: int, total: int) -> None:
        # Written at its place rather than appended: two processes that fetch one file at a time
        # write the same bytes to the same places.
        with ExitStack() as stack:
            file = stack.enter_context(self.partial.open("r+b" if start else "wb"))
            file.seek(start)
            bar = stack.enter_context(self.progress.step(self.description, float(total)))
            bar.advance(start)
            for block in answer.iter_content(_BLOCK):
                file.write(block)
                bar.advance(len(block))
            if total and file.tell() != total:
                raise requests.ConnectionError(f"{file.tell():,} bytes came instead of {total:,}")


def _extent(answer: requests.Response) -> tuple[int, int]:
    """Return where the answer's bytes start, and how many the whole file has (0: unknown)."""
    if answer.status_code != requests.codes.partial_content:
        return 0, int(answer.headers.get("Content-Length", 0))
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if found is None:
        raise requests.ConnectionError("the server sent a part of the file without saying which")
    return int(found[1]), 0 if found[2] == "*" else int(found[2])


def _version_named_in(answer: requests.Response) -> str | None:
    """Return what If-Range may name: a strong ETag, or else the date of the last change."""
    etag: str | None = answer.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return etag
    return answer.headers.get("Last-Modified")
