"""docs/sklearn.md keeps its word: its Python blocks run, one after another."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sklearn.md"


@pytest.mark.deep
@pytest.mark.usefixtures("in_short")
def test_every_python_block_of_the_page_runs() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) >= 2
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    assert names["model"].predict_proba(names["X"]).shape == (1797, 10)
