"""The page on audits keeps its word: its blocks run, one after another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "audit.md"


# What PyTorch's exporter warns of is its own business.
@pytest.mark.deep
@pytest.mark.usefixtures("in_short")
@pytest.mark.filterwarnings("ignore", "error::selena.models.AuditWarning")
def test_every_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("pandas", "onnxruntime", "onnxscript"):
        pytest.importorskip(package, reason="one of the blocks uses it")
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    assert len(blocks) >= 6
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)
