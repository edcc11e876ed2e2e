"""Prints a page as PDF with the Chromium on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from selena.errors import ConfigError, StoreError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")
_SECONDS = 120


def as_pdf(html: str) -> bytes:
    """Print `html`.

    Raises:
        ConfigError: no Chromium is installed.
        StoreError: Chromium fails.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise ConfigError(
            "A PDF needs Chromium or Chrome, and none is on the path. Install one "
            "(apt-get install chromium), or give --output a name that ends in .html."
        )
    with TemporaryDirectory() as folder:
        page, printed = Path(folder) / "page.html", Path(folder) / "page.pdf"
        page.write_bytes(html.encode("utf-8", errors="backslashreplace"))
        command = [
            browser,
            "--headless",
            "--disable-gpu",
            "--no-pdf-header-footer",
            f"--user-data-dir={folder}/profile",
            f"--print-to-pdf={printed}",
            # Chromium's sandbox does not work for root. The page is our own and loads nothing.
            *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
            page.as_uri(),
        ]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise StoreError(
                f"{browser} did not print within {_SECONDS} seconds. Write .html instead, and "
                "print it from a browser."
            ) from error
        if not printed.is_file():
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise StoreError(
                f"{browser} printed no PDF ({''.join(last)[:200]}). Write .html instead, and print "
                "it from a browser."
            )
        return printed.read_bytes()
