"""A release says the same version and date everywhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from publish.ready import disagreements

ROOT = Path(__file__).resolve().parents[1]
TOLD = (
    "CHANGELOG.md",
    "CITATION.cff",
    "README.md",
    "docs/index.md",
    "examples/github-actions-gate.yml",
)


def test_version_and_date_agree_everywhere() -> None:
    assert disagreements(ROOT) == []


@pytest.mark.parametrize("changed", TOLD)
def test_a_place_with_another_version_is_named(changed: str, tmp_path: Path) -> None:
    for name in (*TOLD, "src/selena/environment/version.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    text = (ROOT / changed).read_text(encoding="utf-8")
    told = (ROOT / "src/selena/environment/version.py").read_text(encoding="utf-8")
    version = told.split(chr(34))[-2]
    (tmp_path / changed).write_text(text.replace(version, "0.0.9"), encoding="utf-8")
    found = disagreements(tmp_path)
    assert found
    assert changed in found[0]
