"""The documentation: what its pages say to do is done, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from publish.links import readme_for_pypi, replace_links
from tests.documents import run_page

ROOT = Path(__file__).resolve().parents[1]
# Other pages with code have tests beside what they are about.
PAGES = {"index": 1, "sharp-edges": 1, "tutorials/engineer": 6, "tutorials/researcher": 5}


@pytest.mark.deep
@pytest.mark.usefixtures("in_short")
@pytest.mark.parametrize("name", PAGES)
def test_every_block_of_a_page_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_page(ROOT / "docs" / f"{name}.md", tmp_path, monkeypatch) == PAGES[name]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem)
def test_the_navigation_names_every_page(page: Path) -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert f": {page.relative_to(ROOT / 'docs').as_posix()}\n" in navigation


@pytest.mark.parametrize(
    "page",
    [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md"))],
    ids=lambda page: page.stem,
)
def test_links_to_files_lead_to_one(page: Path) -> None:
    def check(image: bool, words: str, target: str) -> str:
        assert (page.parent / target.partition("#")[0]).exists(), target
        return words

    replace_links(page.read_text(encoding="utf-8"), check)


def test_code_that_looks_like_a_link_is_none() -> None:
    text = '`a["b"](c)`\n```python\nf[0](x)\n```\n[`code`](page.md) [#](#top) [web](https://x.y)\n'
    assert replace_links(text, lambda image, words, target: f"<{target}>") == text.replace(
        "[`code`](page.md)", "<page.md>"
    )


def test_the_readme_on_pypi_has_whole_links() -> None:
    text = readme_for_pypi("[a](b.md#c) ![d](e.png)", "https://host/owner/name", "1.2.3")
    home = "https://host/owner/name"
    assert text == f"[a]({home}/blob/v1.2.3/b.md#c) ![d]({home}/raw/v1.2.3/e.png)"


def test_without_an_address_it_has_no_links_to_files() -> None:
    text = readme_for_pypi((ROOT / "README.md").read_text(encoding="utf-8"), "", "1.2.3")
    assert re.findall(r"\]\((?!https?:|#)", text) == []
    assert "results/location30/report.png" not in text
