"""Run the blocks of a page, one after another, as a reader would."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.test_cli import selena

_BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_page(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run every Python block and every `selena` command of `page` in `folder`; return how many."""
    monkeypatch.chdir(folder)
    # Classes of a block are dataclasses, which look their module up.
    names: dict[str, object] = {"__name__": "__main__"}
    count = 0
    for number, (language, block) in enumerate(_BLOCK.findall(page.read_text(encoding="utf-8"))):
        if language == "python":
            exec(compile(block, f"{page.name}, block {number}", "exec"), names)
            count += 1
            continue
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("selena "):
                selena(*shlex.split(line, comments=True)[1:], cwd=folder)
                count += 1
    return count
