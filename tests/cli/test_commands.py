"""Commands are imported when they are called, and listed as they explain themselves."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import FrameType

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from selena.cli import app
from selena.cli import run as run_module
from selena.cli.examples import EXAMPLES
from selena.cli.main import COMMANDS, RENAMED_OPTIONS, load
from selena.errors import AuditWarning, ConfigError, DataError
from selena.experiments.pipeline import RunSettings
from selena.experiments.store import RunFolder
from tests.test_cli import CONFIG, selena

ROOT = Path(__file__).resolve().parents[2]
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
        ("selena re", {"release-report", "report", "reproduce"}),
        ("selena export --on", {"--onnx"}),
        ("selena reproduce ta", {"table2"}),
    ],
)
def test_shells_complete_commands_and_options(
    words: str, found: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_SELENA_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    with pytest.raises(SystemExit):
        app(prog_name="selena")
    assert set(capsys.readouterr().out.split()) == found


def test_all_commands_are_listed_in_order() -> None:
    assert list(get_command(app).commands) == list(COMMANDS)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("old", "new"), RENAMED_OPTIONS.items())
def test_old_names_of_options_are_read(
    old: str, new: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = str(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="absent"):
        app(["run", "--dataset", absent, f"{old}=5"], standalone_mode=False)
    said = " ".join(capsys.readouterr().err.split())
    assert f"{old} is called {new} now." in said


def test_main_commands_have_three_examples() -> None:
    assert EXAMPLES.keys() == {"", *COMMANDS} - {"env"}
    assert {len(lines) for lines in EXAMPLES.values()} == {3}


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_examples_use_existing_options(line: str) -> None:
    program, name, *words = line.split()
    assert (program, len(line) <= 76) == ("selena", True)
    found = load(name)
    if isinstance(found, typer.Typer):
        command = get_command(found).commands[words[0]]  # type: ignore[attr-defined]
    else:
        alone = typer.Typer()
        alone.command()(found)
        command = get_command(alone)
    known = {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", line)) <= known


def test_help_ends_with_examples_and_exit_codes(tmp_path: Path) -> None:
    said = selena("--help", cwd=tmp_path).stdout
    assert EXAMPLES[""][0] in said
    assert "Exit codes: 0 done" in said
    assert EXAMPLES["run"][1] in selena("run", "--help", cwd=tmp_path).stdout


OPTIONS = {
    "--n-submodels": "6",
    "--n-nonmodels": "3",
    "--epochs": "2",
    "--batch-size": "8",
    "--learning-rate": "0.5",
    "--n-members": "100",
}


def test_options_beat_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[RunSettings] = []

    def stop(settings: RunSettings, *_: object, **__: object) -> None:
        seen.append(settings)
        raise ConfigError("seen")

    monkeypatch.setattr(run_module, "run", stop)
    (tmp_path / "run.toml").write_text(CONFIG + "weight_decay = 0.25\n")
    given = [word for option in OPTIONS.items() for word in option]
    selena("run", "--config", "run.toml", *given, cwd=tmp_path, code=2)
    selena("run", "--config", "run.toml", cwd=tmp_path, code=2)
    recipe = {"epochs": 2, "batch_size": 8, "learning_rate": 0.5}
    assert seen[0].plan == {
        "hidden": [16],
        "n_submodels": 6,
        "n_nonmodels": 3,
        "training": recipe,
        "distillation": {**recipe, "weight_decay": 0.25},
        "shadow_epochs": None,
    }
    assert seen[0].data.n_members == 100
    assert seen[1].plan["training"] == {"epochs": 3}
    assert seen[1].data.n_members == 200


@pytest.mark.parametrize(("given", "kept"), [("exact", "exact"), ("12", 12.0)])
def test_near_duplicates_are_a_word_or_a_number(given: str, kept: object) -> None:
    assert run_module._plan({"near_duplicates": given}) == {"near_duplicates": kept}


@pytest.mark.parametrize("option", [["--epochs", "0"], ["--n-submodels", "0"]])
def test_counts_below_one_are_refused(option: list[str], tmp_path: Path) -> None:
    assert option[0] in selena("train", *option, cwd=tmp_path, code=2).stderr


def test_train_prints_a_line_per_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "train", lambda *_: RunFolder(tmp_path / "made"))
    (tmp_path / "run.toml").write_text(CONFIG)
    done = selena("train", "--config", "run.toml", cwd=tmp_path)
    stages = re.findall(r"^ +[0-9.]+ min  (.*)$", done.stderr, re.MULTILINE)
    assert stages == [f"{name}, seed 0" for name in ("undefended", "split_ai", "selena")]
    assert done.stdout.splitlines() == [str(tmp_path / "made")] * 3


@pytest.mark.deep
def test_a_run_executes_the_files_of_the_page(tmp_path: Path) -> None:
    """Fewer than 25 files show a whole run, and a run executes functions of each of them."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = re.findall(r"`(\w+(?:/\w+)*\.py)`", page.split("## ")[1])
    assert len(listed) == len(set(listed)) < 25
    executed: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_flags & CO_OPTIMIZED:  # neither module nor class
            executed.add(frame.f_code.co_filename)

    command = ("run", "--dataset", "digits", "--defense", "undefended", "--attack", "confidence")
    sys.setprofile(note)
    try:
        selena(*command, "--n-members", "200", "--epochs", "1", cwd=tmp_path)
    finally:
        sys.setprofile(None)
    assert {name for name in listed if str(ROOT / "src/selena" / name) not in executed} == set()


def test_every_command_warns_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def command() -> None:
        warnings.warn("delta is large", AuditWarning, stacklevel=1)

    monkeypatch.setattr(sys.modules[load.__module__], "load", lambda name: command)
    found = CliRunner().invoke(app, ["env"])
    assert (found.exit_code, found.stderr) == (0, "Warning: delta is large\n")
