"""A release says the same version, date and Pythons everywhere."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from publish.ready import disagreements

ROOT = Path(__file__).resolve().parents[1]
WORKFLOW = ROOT / ".github/workflows/checks.yml"
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


def supported_pythons() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    prefix = "Programming Language :: Python :: "
    versions = [c.removeprefix(prefix) for c in project["classifiers"] if c.startswith(prefix)]
    assert project["requires-python"] == f">={versions[0]}"
    return versions


@pytest.mark.parametrize("name", ["README.md", "docs/index.md", "constraints.txt"])
def test_supported_pythons_agree_everywhere(name: str) -> None:
    told = re.findall(r"Python (3\.\d+) to (3\.\d+)", (ROOT / name).read_text(encoding="utf-8"))
    assert told == [(supported_pythons()[0], supported_pythons()[-1])]


@pytest.mark.skipif(not WORKFLOW.is_file(), reason="the sdist has no workflows")
def test_every_supported_python_is_tested() -> None:
    workflow = WORKFLOW.read_text(encoding="utf-8")
    matrix = re.search(r"python: (\[.*\])", workflow)
    assert matrix
    assert json.loads(matrix[1]) == supported_pythons()
    newest = workflow[workflow.index("  newest:") :]
    told = re.search(r'python-version: "(.*)"', newest)
    assert told
    assert told[1] == supported_pythons()[-1]
