"""A browser, or the reason why there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from selena.files.writing import write_text
from selena.reports.page.render import render_page
from tests.reports.made import HOSTILE, run, runs

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium from the machine; Playwright downloads nothing here."""
    reason = "needs Playwright: pip install 'selena-privacy[browser]'"
    playwright = pytest.importorskip("playwright.sync_api", reason=reason)
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip(f"needs a browser: none of {', '.join(_NAMES)} is installed")
    # Chromium refuses its sandbox to root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=found, args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every section."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_text(path, render_page(runs((0, 1)), title="Toys", command="selena run"))
    return path


@pytest.fixture
def page(browser: Browser, file: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page as loaded; a test's parameter, if it has one, holds the browser's settings."""
    with opened(browser, file, **getattr(request, "param", {})) as ready:
        yield ready


@pytest.fixture
def hostile(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """A page of a model whose name tries to break out of it."""
    path = tmp_path / "report.html"
    write_text(path, render_page([run(HOSTILE)], title=HOSTILE, command=HOSTILE))
    with opened(browser, path) as ready:
        yield ready


@contextmanager
def opened(browser: Browser, file: Path, **settings: Any) -> Iterator[Page]:
    """Open a page; what it logs, and any request but for itself, fails the test."""
    complaints: list[str] = []

    def only_itself(route: Route) -> None:
        if route.request.url == file.as_uri():
            route.continue_()
        else:
            complaints.append(f"request: {route.request.url}")
            route.abort()

    context = browser.new_context(**settings)
    page = context.new_page()
    page.route("**/*", only_itself)
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.goto(file.as_uri())
    page.locator(".plot .drawing").first.wait_for()
    yield page
    context.close()
    assert complaints == []
