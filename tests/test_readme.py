"""Every command and every Python block in README.md and docs/usage.md runs."""

from __future__ import annotations

import re
import shlex
from glob import glob
from itertools import chain
from pathlib import Path

import pytest

from tests.test_cli import selena

ROOT = Path(__file__).resolve().parents[1]
# Python blocks run before commands: one of them writes the file that a command reads.
TEXT = "".join((ROOT / page).read_text("utf-8") for page in ("README.md", "docs/usage.md"))
# ```bash slow blocks take minutes; they run with the slow tests.
BLOCKS = re.findall(r"^```(bash|python)( slow)?\n(.*?)^```$", TEXT, re.M | re.S)
COMMANDS = [
    pytest.param(line, id=line[:60], marks=[pytest.mark.slow] if slow else [])
    for language, slow, block in BLOCKS
    if language == "bash"
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("selena ")
]
PYTHON = [block for language, _, block in BLOCKS if language == "python"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all commands: later ones use what earlier ones made."""
    return tmp_path_factory.mktemp("readme")


def test_pages_have_commands_and_python() -> None:
    assert len(COMMANDS) >= 5
    assert PYTHON


# In this process: each would load PyTorch anew, and warnings are errors here.
@pytest.mark.deep
@pytest.mark.usefixtures("in_short")
@pytest.mark.parametrize("block", PYTHON, ids=range(len(PYTHON)))
def test_every_python_block_runs(block: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    exec(compile(block, "a page", "exec"), {"__name__": "__main__"})


@pytest.mark.deep
@pytest.mark.usefixtures("in_short")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_runs(command: str, folder: Path) -> None:
    words = shlex.split(command, comments=True)[1:]
    if words[0] == "tune":
        pytest.importorskip("optuna", reason="needs the extra `tune`")
    found = (sorted(glob(word, root_dir=folder)) or [word] for word in words)
    selena(*chain.from_iterable(found), cwd=folder)
