"""Commands are imported when they are called, and listed as they explain themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from selena.cli import app
from selena.cli.main import COMMANDS, RENAMED_OPTIONS, load
from selena.errors import DataError

WITHOUT_TORCH = """
import sys
from selena.cli import main
sys.argv = ["selena", *sys.argv[1:]]
try:
    main()
finally:
    assert not {"torch", "numpy", "matplotlib"} & set(sys.modules)
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_a_command_says_of_itself(name: str) -> None:
    found = load(name)
    own = found.info.help if isinstance(found, typer.Typer) else found.__doc__
    assert COMMANDS[name][1] == own


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_help_and_version_wait_for_nothing(argument: str) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, argument]
    assert subprocess.run(command, check=True, capture_output=True).stdout


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("selena re", {"report", "reproduce"}),
        ("selena export --on", {"--onnx"}),
        ("selena reproduce ta", {"table2"}),
    ],
)
def test_shells_complete_commands_and_options(words: str, found: set[str]) -> None:
    asked = {
        "_SELENA_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", "from selena.cli import app; app(prog_name='selena')"],
        env={**os.environ, **asked},
        check=False,
        capture_output=True,
        text=True,
    )
    assert set(done.stdout.split()) == found


def test_all_commands_are_listed_in_order() -> None:
    assert list(get_command(app).commands) == list(COMMANDS)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("old", "new"), RENAMED_OPTIONS.items())
def test_old_names_of_options_are_read(
    old: str, new: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = str(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="absent"):
        app(["run", "--dataset", absent, f"{old}=who"], standalone_mode=False)
    said = " ".join(capsys.readouterr().err.split())
    assert f"{old} is called {new} now." in said
