"""docs/catalog.md holds the tables of `selena list --markdown`."""

from __future__ import annotations

from pathlib import Path

import pytest

from selena.cli.catalog import SECTIONS, Section, markdown_table

PAGE = (Path(__file__).parents[1] / "docs" / "catalog.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("section", SECTIONS)
def test_the_page_holds_the_listed_table(section: Section) -> None:
    # If this fails, paste what `selena list SECTION --markdown` prints.
    assert markdown_table(section) in PAGE
