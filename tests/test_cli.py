"""The command line as a user meets it: real files, and a real process where one is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main

from selena.cli import app, main

COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]

CONFIG = """
attacks = ["confidence", "modified_entropy"]
defenses = ["undefended", "split_ai", "selena"]
[data]
dataset = "digits"
members = 200
[plan]
hidden = [16]
k = 4
l = 2
[plan.training]
epochs = 3
[plan.distillation]
epochs = 3
"""


@dataclass
class Done:
    """What a command printed."""

    stdout: str
    stderr: str


def selena(*arguments: str, cwd: Path, code: int = 0) -> Done:
    """Run a command in `cwd`, in this process: importing PyTorch anew each time takes seconds."""
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["selena", *arguments])
        patch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as exit_:
            main()
    assert (exit_.value.code or 0) == code, out.getvalue() + err.getvalue()
    return Done(out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where a small experiment ran to its end."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "run.toml").write_text(CONFIG)
    selena("run", "--config", "run.toml", "--json", "out.json", "--out", "report", cwd=folder)
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, tmp_path: Path) -> None:
    assert "Usage" in selena(command, "--help", cwd=tmp_path).stdout


def test_run_writes_rows_report_and_figure(finished: Path) -> None:
    result = read(finished / "out.json")
    assert result["schema"] == "selena-run/1"
    assert [row["defense"] for row in result["rows"]] == ["undefended", "split_ai", "selena"]
    for row in result["rows"]:
        assert 0 <= row["test_accuracy"] <= 1
        assert row["best"]["direct"]["attack"].split("/")[0] in row["attacks"]
        assert set(row["attacks"]) == {"confidence", "modified_entropy"}
        assert row["selected_on_evaluation"] is False
    assert (finished / "report" / "report.png").read_bytes().startswith(b"\x89PNG")
    text = (finished / "report" / "report.md").read_text()
    assert "| undefended |" in text
    assert "report.png" in text
    assert not (finished / "runs" / "pieces").exists()  # sub-models were dropped


def test_a_second_run_finds_everything(finished: Path) -> None:
    selena("run", "--config", "run.toml", "--json", "again.json", cwd=finished)
    first, again = read(finished / "out.json"), read(finished / "again.json")
    assert again["rows"] == first["rows"]
    assert again["timings"] == first["timings"]


def test_steps_give_the_same_rows_as_one_run(finished: Path, tmp_path: Path) -> None:
    config = finished / "run.toml"
    trained = selena("train", "--config", str(config), "--json", "t.json", cwd=tmp_path)
    folders = trained.stdout.split()
    assert sorted(read(tmp_path / "t.json")) == sorted(folders)
    names = ("--attacks", "confidence,modified_entropy")
    selena("attack", *folders, *names, "--json", "a.json", cwd=tmp_path)
    assert read(tmp_path / "a.json")["rows"] == read(finished / "out.json")["rows"]
    written = selena("report", *folders, "--json", "r.json", "--out", "r[1]", cwd=tmp_path).stdout
    report, out = read(tmp_path / "r.json"), read(finished / "out.json")
    assert report["rows"] == out["rows"]
    trained_in = {name: times["train_seconds"] for name, times in report["timings"].items()}
    assert trained_in.keys() == out["timings"].keys()
    assert min(trained_in.values()) > 0
    assert (tmp_path / "r[1]" / "report.md").exists()
    assert "Written: r[1]/report.md" in written


def test_a_killed_run_ends_with_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(CONFIG)
    command = [sys.executable, "-m", "selena", "run", "--config", "run.toml", "--json", "out.json"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    pieces = tmp_path / "runs" / "pieces"
    deadline = time.monotonic() + 60
    # Two sub-models are there, the others are not.
    while len(list(pieces.glob("submodel-*.safetensors"))) < 2 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL  # it was not done
    selena("run", "--config", "run.toml", "--json", "out.json", cwd=tmp_path)
    assert read(tmp_path / "out.json")["rows"] == read(finished / "out.json")["rows"]
    for folder in (finished / "runs").iterdir():
        for name in ("model.safetensors", "audit.json"):
            resumed = (tmp_path / "runs" / folder.name / name).read_bytes()
            assert resumed == (folder / name).read_bytes()


def test_the_papers_selection_is_flagged(finished: Path) -> None:
    arguments = ("--defense", "undefended", "--selection", "paper")
    done = selena("run", "--config", "run.toml", *arguments, "--json", "p.json", cwd=finished)
    assert read(finished / "p.json")["rows"][0]["selected_on_evaluation"] is True
    assert "biased" in done.stdout


def test_audit_of_predictions_writes_the_documented_schema(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    p = generator.dirichlet(np.ones(3), 200)
    member = np.arange(200) % 2 == 0
    np.savez(
        tmp_path / "p.npz",
        probabilities=p,
        labels=p.argmax(axis=1),
        member=member,
        known=np.arange(200) < 100,
    )
    selena("audit", "--predictions", "p.npz", "--json", "out.json", cwd=tmp_path)
    result = read(tmp_path / "out.json")
    assert result["schema"] == "selena-audit/1"
    assert list(result["attacks"]) == sorted(
        ["correctness", "confidence", "entropy", "modified_entropy", "neural"]
    )
    for attack in result["attacks"].values():
        for variant in ("global", "per_class"):
            assert set(attack[variant]["tpr_at_fpr"]) == {"0.1", "0.01", "0.001"}
            assert 0 <= attack[variant]["balanced_accuracy"] <= 1
    assert not (tmp_path / "runs").exists()


def test_env_prints_versions(tmp_path: Path) -> None:
    assert json.loads(selena("env", cwd=tmp_path).stdout)["packages"]["torch"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--dataset", "digts"), "Did you mean 'digits'"),
        (("run", "--dataset", "digits", "--defense", "selina"), "Did you mean 'selena'"),
        (("run", "--dataset", "digits", "--attack", "dirct"), "Did you mean 'direct'"),
        (("run", "--dataset", "digits", "--selection", "test"), "'last', 'validation', 'paper'"),
        (("run", "--dataset", "digits", "--members", "1790"), "members"),
        (("run", "--dataset", "digits", "--size", "100"), "size"),
        (("run", "--config", "absent.toml"), "absent.toml"),
        (("train", "--dataset", "absent.csv"), "no such file"),
        (("attack", "nowhere"), "not a finished run"),
        (("report", "nowhere"), "holds no audit"),
        (("audit", "--predictions", "absent.npz"), "no such file"),
    ],
)
def test_errors_are_one_line_with_the_mend(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = selena(*arguments, cwd=tmp_path, code=2)
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
