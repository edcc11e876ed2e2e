"""Pages about other libraries run, where the library is installed (`make test-libraries`)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "recipes"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.stem != "index")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")  # of other libraries
@pytest.mark.usefixtures("unchecked")  # their classes have no types
def test_a_recipe_runs(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip(page.stem, reason=f"{page.stem} is not installed")
    text = page.read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": page.stem}
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S):
        exec(block, names)
    low, high = names["report"].auc.interval
    assert 0 <= low <= high <= 1
    if "private" in names:
        assert len(names["private"].classes_) == 2


def test_every_recipe_is_in_the_index() -> None:
    index = (FOLDER / "index.md").read_text(encoding="utf-8")
    assert PAGES
    assert all(f"]({page.name})" in index for page in PAGES)
