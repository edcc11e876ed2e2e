"""The page in a browser: it draws, sorts, reacts, turns dark, fits a phone, and is accessible."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from selena import write_release_report
from selena.files.escaping import printable
from tests.reports.made import HOSTILE, report

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 390, "height": 844}}
DARK = {"color_scheme": "dark"}


def column(page: Page, table: Locator, at: int) -> list[str]:
    cells = table.locator(f"tbody tr td:nth-child({at})")
    return [text.split()[0] for text in cells.all_inner_texts()]


def theme(page: Page, name: str) -> None:
    """Wait until the page has this theme."""
    page.locator(f"html[data-theme={name}]").wait_for(state="attached", timeout=5000)


def test_every_chart_is_drawn(page: Page) -> None:
    plots = page.locator(".plot")
    assert plots.count() == 6
    for plot in plots.all():
        assert plot.get_attribute("aria-label")
        drawing, shapes = plot.locator(".drawing").bounding_box(), plot.locator(".series *")
        assert drawing is not None
        assert drawing["width"] > 250
        sizes = [box for each in shapes.all()[:20] if (box := each.bounding_box()) is not None]
        assert any(box["height"] > 5 for box in sizes)


def test_a_table_sorts_by_click_both_ways(page: Page) -> None:
    table = page.locator("table.sortable").first
    heading = table.locator("th", has_text="Attack acc.")
    assert heading.get_attribute("aria-sort") is None
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    falling = [float(text) for text in column(page, table, 6)]
    assert falling == sorted(falling, reverse=True)
    assert len(set(falling)) > 1
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert [float(text) for text in column(page, table, 6)] == sorted(falling)
    words = table.locator("th", has_text="Defense")
    words.locator("button").click()
    assert words.get_attribute("aria-sort") == "ascending"
    assert heading.get_attribute("aria-sort") is None
    assert column(page, table, 1) == sorted(column(page, table, 1))


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_table_sorts_by_keyboard(page: Page, key: str) -> None:
    table = page.locator("table.sortable").nth(1)
    before = column(page, table, 1)
    button = table.locator("th button").first
    button.focus()
    page.keyboard.press(key)
    assert table.locator("th").first.get_attribute("aria-sort") == "descending"
    after = [int(text) for text in column(page, table, 1)]
    assert after == sorted(map(int, before), reverse=True)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Class"


def test_unresolved_cells_stay_last(page: Page) -> None:
    page.evaluate(
        """() => {
          const cell = document.querySelector("table.sortable tbody tr td:nth-child(6)");
          cell.removeAttribute("data-value");
          cell.textContent = "unresolved";
        }"""
    )
    table = page.locator("table.sortable").first
    for _ in range(2):
        table.locator("th button", has_text="Attack acc.").click()
        assert column(page, table, 6)[-1] == "unresolved"


def test_a_chart_answers_the_pointer(page: Page) -> None:
    figure = page.locator("[data-figure=tradeoff-0]")
    figure.scroll_into_view_if_needed()
    figure.locator(".series .point").first.hover(force=True)
    tip = figure.locator(".tip")
    tip.wait_for()
    assert "undefended: test 8" in tip.inner_text()
    assert ", attack 7" in tip.inner_text()
    page.mouse.move(0, 0)
    tip.wait_for(state="hidden")


def test_the_legend_hides_a_curve_and_its_band(page: Page) -> None:
    figure = page.locator("[data-figure=roc-0]")
    figure.scroll_into_view_if_needed()
    paths = figure.locator(".series path:visible")
    assert paths.count() == 4  # for each of two models a band and a curve
    button = figure.locator(".legend button").first
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert paths.count() == 2
    # What was hidden stays hidden when the theme changes, and is not read.
    page.locator("#theme").click()
    assert paths.count() == 2
    box = figure.locator(".drawing").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 10)
    assert "undefended" not in str(figure.locator(".tip").text_content())
    button.press("Enter")
    assert paths.count() == 4


def test_hostile_names_are_text_in_every_label(hostile: Page) -> None:
    shown = hostile.locator("[data-figure=roc-0] .legend button").first.text_content()
    assert shown is not None
    # White space in a label is one space.
    assert shown.split() == printable(HOSTILE).split()
    assert hostile.locator("img, b").count() == 0
    assert hostile.locator("h3").first.text_content() == printable(HOSTILE)


def ink(page: Page) -> tuple[str, str]:
    """Return the colors of the page and of a chart's text."""
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    text = page.evaluate(
        "getComputedStyle(document.querySelector('[data-figure=roc-0] .tick')).fill"
    )
    return background, text


def test_dark_and_light_at_a_button(page: Page) -> None:
    button = page.locator("#theme")
    light = ink(page)
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    dark = ink(page)
    assert button.get_attribute("aria-pressed") == "true"
    assert dark[0] != light[0]
    assert dark[1] != light[1]
    button.click()
    assert ink(page) == light


@pytest.mark.parametrize("page", [DARK], indirect=True)
def test_system_theme_counts_until_one_is_chosen(page: Page) -> None:
    theme(page, "dark")
    page.emulate_media(color_scheme="light")
    theme(page, "light")
    page.locator("#theme").click()
    page.emulate_media(color_scheme="dark")
    page.emulate_media(color_scheme="light")
    theme(page, "dark")


@pytest.mark.parametrize("page", [{}, DARK, PHONE], indirect=True, ids=["light", "dark", "phone"])
def test_axe_finds_no_violation(page: Page) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright",
        reason="needs axe: pip install 'selena-privacy[browser]'",
    )
    page.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_a_phone_need_not_scroll_sideways(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for plot in page.locator(".plot").all():
        box = plot.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390


@pytest.mark.parametrize("page", [DARK], indirect=True)
def test_print_is_light_and_no_wider_than_paper(page: Page) -> None:
    page.set_viewport_size({"width": 700, "height": 900})  # A4 without its margins
    page.emulate_media(media="print")
    theme(page, "light")
    assert not page.locator(".screen").first.is_visible()
    for svg in page.locator(".plot .drawing").all():
        box = svg.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 700
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="screen")
    theme(page, "dark")


def test_the_release_report_prints(browser: object, tmp_path: Path) -> None:
    """`browser` skips the test where there is none."""
    path = write_release_report(report(1.5), tmp_path / "release.pdf", title="Toys")
    assert path.read_bytes().startswith(b"%PDF")
    assert path.stat().st_size > 20_000
