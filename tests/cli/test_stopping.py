"""Ctrl-C and SIGTERM end a command in one line; stages are lines where there is no terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from selena.cli import run as run_module
from selena.cli.guards import Stopped, keeps_work_in, stoppable
from selena.cli.progress import RichProgress
from tests.auditing.verdicts import predictions, write_npz
from tests.test_cli import CONFIG, selena


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """Heed Ctrl-C: a process that a script started in the background was told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("number", "code", "name"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")]
)
def test_a_stopped_run_says_what_was_kept(
    number: signal.Signals, code: int, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr(run_module, "run", stopped)
    (tmp_path / "run.toml").write_text(CONFIG)
    done = selena("run", "--config", "run.toml", "--runs", "mine", cwd=tmp_path, code=code)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Stopped by {name}. ")
    assert "kept in mine; run the same command again" in line


def test_a_command_that_keeps_nothing_says_so() -> None:
    with stoppable():
        keeps_work_in(Path("runs"))
    with pytest.raises(Stopped) as stopped, stoppable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert "run the same command again" in stopped.value.message


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stoppable():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.deep
def test_a_stopped_process_ends_with_its_code(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(CONFIG.replace("epochs = 3", "epochs = 3000"))
    command = [sys.executable, "-m", "selena", "run", "--config", "run.toml"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        while "Undefended" not in next(lines):
            pass
        process.send_signal(signal.SIGTERM)
        assert "Stopped by SIGTERM. " in "".join(lines)
    assert process.returncode == 143


def test_stages_are_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    progress = RichProgress()
    with progress.step("undefended,\n seed 0", 1):
        for name in ("Attacks", "Attacks", "Distances"):
            with progress.step(name, 2) as bar:
                bar.advance()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.partition(" min  ")[2] for line in captured.err.splitlines()] == [
        "undefended,\\n seed 0",
        "  Attacks",
        "  Distances",
    ]


@pytest.mark.deep
def test_results_on_standard_output_stand_alone(tmp_path: Path) -> None:
    """`--json /dev/stdout` gives a pipe the JSON; the table goes to the error stream."""
    write_npz(tmp_path / "p.npz", predictions(200, 1.0))
    audit = ["audit", "--predictions", "p.npz", "--attack", "confidence", "--json", "/dev/stdout"]
    done = subprocess.run(
        [sys.executable, "-m", "selena", *audit], cwd=tmp_path, check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"{")
    assert done.stdout.endswith(b"}\n")
    assert b"confidence" in done.stderr
