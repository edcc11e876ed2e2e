"""The command line as a user meets it: real files, and a real process where one is killed."""

from __future__ import annotations

import json
import os
import shutil
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
from torch import Tensor

from selena.auditing.figure import figures_of
from selena.auditing.verdict import LEVELS
from selena.cli import app, main
from selena.workspace import Workspace

pytestmark = pytest.mark.usefixtures("undrawn")  # but `finished` is drawn

COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]

CONFIG = """
attacks = ["confidence", "modified_entropy"]
defenses = ["undefended", "split_ai", "selena"]
[data]
dataset = "digits"
n_members = 200
[plan]
hidden = [16]
n_submodels = 4
n_nonmodels = 2
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
    assert result["schema"] == "selena-run/2"
    assert [row["defense"] for row in result["rows"]] == ["undefended", "split_ai", "selena"]
    for row in result["rows"]:
        assert 0 <= row["test_accuracy"] <= 1
        assert all(figure.name in row["attacks"] for figure in figures_of(row).values())
        assert set(row["families"]) == {"direct"}
        assert row["verdict"]["level"] in LEVELS
        assert set(row["inputs"]) == {"records", "model", "version"}
        assert set(row["attacks"]) == {"confidence", "modified_entropy"}
        assert row["selected_on_evaluation"] is False
    assert (finished / "report" / "report.png").read_bytes().startswith(b"\x89PNG")
    text = (finished / "report" / "report.md").read_text()
    assert "| undefended |" in text
    assert "report.png" in text
    assert not (finished / "runs" / "artifacts").exists()  # sub-models were dropped


def test_a_second_run_finds_everything(finished: Path) -> None:
    selena("run", "--config", "run.toml", "--json", "again.json", cwd=finished)
    first, again = read(finished / "out.json"), read(finished / "again.json")
    assert again["rows"] == first["rows"]
    assert again["timings"] == first["timings"]


@pytest.mark.deep
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


def resume(tmp_path: Path, finished: Path) -> None:
    """Go on with a run that was killed, and compare it with one that was not."""
    selena("run", "--config", "run.toml", "--json", "out.json", cwd=tmp_path)
    assert read(tmp_path / "out.json")["rows"] == read(finished / "out.json")["rows"]
    for folder in (finished / "runs").iterdir():
        for name in ("model.safetensors", "audit.json"):
            resumed = (tmp_path / "runs" / folder.name / name).read_bytes()
            assert resumed == (folder / name).read_bytes()


@pytest.mark.deep
def test_a_stopped_run_ends_with_the_same_bytes(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.toml").write_text(CONFIG)
    save = Workspace.save

    def stopped(workspace: Workspace, name: str, tensors: dict[str, Tensor]) -> None:
        save(workspace, name, tensors)
        if name.startswith("submodel-2"):
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "save", stopped)
        selena("run", "--config", "run.toml", "--json", "out.json", cwd=tmp_path, code=143)
    assert list((tmp_path / "runs" / "artifacts").glob("submodel-*.safetensors"))
    resume(tmp_path, finished)


@pytest.mark.deep
def test_a_killed_run_ends_with_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(CONFIG)
    command = [sys.executable, "-m", "selena", "run", "--config", "run.toml", "--json", "out.json"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    artifacts = tmp_path / "runs" / "artifacts"
    deadline = time.monotonic() + 60
    # Two sub-models are there, the others are not.
    while len(list(artifacts.glob("submodel-*.safetensors"))) < 2 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL  # it was not done
    resume(tmp_path, finished)


@pytest.mark.deep
def test_reports_are_of_repetitions(finished: Path, tmp_path: Path) -> None:
    """Runs of one defense that differ in more than the seed have no mean."""
    (tmp_path / "run.toml").write_text(CONFIG)
    train = ("train", "--config", "run.toml", "--defense", "undefended")
    one, other, fewer = (
        selena(*train, *more, cwd=tmp_path).stdout.strip()
        for more in ((), ("--seed", "1"), ("--seed", "2", "--n-members", "150"))
    )
    selena("attack", one, fewer, "--attack", "confidence", cwd=tmp_path)
    selena("attack", other, "--attack", "confidence,shadow_cross_entropy", cwd=tmp_path)
    for runs, message in (
        ((one, one), "undefended, seed 0"),
        ((one, fewer), "with other partition"),
        ((one, other), "with other families of attacks"),
        ((other, one), "with other families of attacks"),
    ):
        failed = selena("report", *runs, cwd=tmp_path, code=2)
        assert message in " ".join(failed.stderr.split())
    assert not (tmp_path / "report").exists()
    selena("attack", other, "--attack", "confidence", cwd=tmp_path)
    assert "2 seeds" in selena("report", one, other, cwd=tmp_path).stdout


def test_wrong_settings_show_before_training(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(CONFIG + "[defense_settings.hamp]\ndecoys = 0\n")
    twice = CONFIG + '[attack_settings.lira]\nstatistic = "rmia"\n'
    (tmp_path / "twice.toml").write_text(twice)
    failures = [
        (("--config", "run.toml"), "decoys"),
        (("--config", "twice.toml", "--attack", "lira,rmia"), "names must differ; got rmia, rmia"),
        (("--dataset", "digits", "--attack", "flip_noise"), "binary"),
        (("--dataset", "digits", "--device", "gpu"), "device='gpu' cannot be used"),
        (("--dataset", "digits", "--json", "."), "is a directory"),
        (("--dataset", "digits", "--json", "run.toml/out.json"), "cannot be written to"),
        (("--dataset", "digits", "--out", "run.toml"), "is a file"),
    ]
    for arguments, message in failures:
        failed = selena("run", *arguments, cwd=tmp_path, code=2)
        assert message in " ".join(failed.stderr.split())
    assert not (tmp_path / "runs").exists()


def test_copies_of_members_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [f"{i % 20},{i % 7},{i % 2}" for i in range(300)]
    (tmp_path / "few.csv").write_text("\n".join(["a,b,label", *rows]))
    config = CONFIG.replace('dataset = "digits"', 'dataset = "few.csv"')
    (tmp_path / "run.toml").write_text(config.replace("n_members = 200", "n_members = 100"))
    selena("train", "--config", "run.toml", "--defense", "undefended", cwd=tmp_path)
    assert "test non-members are copies of members" in caplog.text


def test_a_renamed_run_is_not_taken_for_another(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(CONFIG)
    command = ("train", "--config", "run.toml", "--defense", "undefended")
    trained = {
        seed: Path(selena(*command, "--seed", seed, cwd=tmp_path).stdout.strip())
        for seed in ("1", "2")
    }
    shutil.rmtree(tmp_path / trained["2"])
    (tmp_path / trained["1"]).rename(tmp_path / trained["2"])
    failed = selena(*command, "--seed", "2", cwd=tmp_path, code=2)
    assert "holds undefended, seed 1: it was renamed" in " ".join(failed.stderr.split())


def test_attacks_take_the_plan_that_is_asked_for(tmp_path: Path) -> None:
    """The attacker's own Split-AI has the K of the command, whatever was trained before."""
    (tmp_path / "run.toml").write_text(CONFIG)
    (tmp_path / "more.toml").write_text(CONFIG.replace("n_submodels = 4", "n_submodels = 5"))
    names = ("--defense", "undefended", "--attack", "shadow_cross_entropy")
    for config, k in (("run.toml", 4), ("more.toml", 5)):
        selena("run", "--config", config, *names, "--json", "out.json", cwd=tmp_path)
        (row,) = read(tmp_path / "out.json")["rows"]
        assert row["attacks"]["shadow_cross_entropy"]["settings"]["split_ai"]["n_submodels"] == k


@pytest.mark.deep
def test_reference_models_repeat_the_defense(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(CONFIG + "[attack_settings.lira]\nruns = 4\n")
    names = ("--defense", "undefended", "--defense", "selena", "--attack", "lira")
    selena("run", "--config", "run.toml", *names, "--json", "out.json", cwd=tmp_path)
    for row, kind in zip(
        read(tmp_path / "out.json")["rows"], ("Undefended", "Selena"), strict=True
    ):
        settings = row["attacks"]["lira"]["settings"]
        assert (settings["defense"]["type"], settings["runs"]) == (kind, 4)
        assert row["attacks"]["lira"]["family"] == "reference-model"
    assert not (tmp_path / "runs" / "artifacts").exists()


@pytest.mark.deep
def test_canaries_are_planted_and_reported_apart(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(CONFIG + "[attack_settings.lira]\nruns = 4\n")
    settings = ("--config", "run.toml", "--defense", "undefended")
    planted = (*settings, "--canaries", "40", "--canary-kind", "twins")
    attacks = ("--attack", "confidence,lira")
    done = selena("run", *planted, *attacks, "--json", "out.json", cwd=tmp_path)
    (row,) = read(tmp_path / "out.json")["rows"]
    assert row["train_n"] == 200
    for attack in ("confidence", "lira"):
        found = row["attacks"][attack]["canaries"]
        assert found["members"] + found["non_members"] == 40
        assert found["copies"] == found["members"]
        assert found["epsilon_lower_bound"]["guesses"] > 0
    assert "40 canaries got a wrong label" in done.stdout.replace("\n", " ")
    selena("train", *planted, "--runs", "again", cwd=tmp_path)
    (again,) = (tmp_path / "again").glob("digits-*")
    selena("attack", str(again), "--config", "run.toml", *attacks, cwd=tmp_path)
    assert read(again / "audit.json") == row
    selena("train", *settings, cwd=tmp_path)
    assert len(list((tmp_path / "runs").glob("digits-*"))) == 2  # no canaries, another run
    failed = selena("run", *settings, "--canaries", "5", cwd=tmp_path, code=2)
    assert "at least 20" in failed.stderr
    failed = selena("run", *settings, "--canary-kind", "twins", cwd=tmp_path, code=2)
    assert "without canaries" in failed.stderr


@pytest.mark.deep
def test_rows_of_one_person_stay_together(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    person = [0, *range(1, 200), *draw.integers(1, 200, 400)]
    rows = [f"{a},{b},{i % 2},{person[i]}" for i, (a, b) in enumerate(draw.random((600, 2)))]
    (tmp_path / "own.csv").write_text("\n".join(["a,b,label,who", *rows]))
    config = CONFIG.replace('dataset = "digits"', 'dataset = "own.csv"\ngroup_column = "who"')
    (tmp_path / "run.toml").write_text(config)
    names = ("--defense", "undefended", "--defense", "selena", "--attack", "confidence")
    selena("run", "--config", "run.toml", *names, "--seed", "0", "--seed", "1", cwd=tmp_path)
    runs = sorted((tmp_path / "runs").iterdir())
    assert len(runs) == 4
    for run in runs:
        split, row = read(run / "manifest.json")["split"], read(run / "audit.json")
        assert row["train_n"] == split["known_members"] + split["evaluation_members"]
        assert 200 <= row["train_n"] < 220
        assert row["n"]["evaluation_members"] < split["evaluation_members"] / 2  # persons
        assert row["n"]["evaluation_records"] > 2 * row["n"]["evaluation_members"]
    assert len({str(read(run / "manifest.json")["split"]) for run in runs}) == 2
    done = selena("report", *map(str, runs), cwd=tmp_path)  # sizes may differ, what was asked not
    assert "2 seeds" in done.stdout
    assert "each by the mean score of its own" in (tmp_path / "report" / "report.md").read_text()
    assert "600 records in 200 subjects" in read(runs[0] / "manifest.json")["data"]["source"]
    failed = selena("run", *names, "--subject-column", "who", cwd=tmp_path, code=2)
    assert "purchase100-synthetic has no column 'who'" in " ".join(failed.stderr.split())


def test_files_are_written_if_the_table_fails(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = ["selena", "report", *map(str, (finished / "runs").iterdir()), "--json", "out.json"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", command)
    with os.fdopen(writer, "w") as nobody, redirect_stdout(nobody):
        with pytest.raises(SystemExit) as exit_:
            main()
        assert exit_.value.code == 1
    assert len(read(tmp_path / "out.json")["rows"]) == 3
    assert (tmp_path / "report" / "report.html").exists()


def test_the_papers_selection_is_flagged(finished: Path) -> None:
    arguments = ("--defense", "undefended", "--selection", "paper")
    done = selena("run", "--config", "run.toml", *arguments, "--json", "p.json", cwd=finished)
    assert read(finished / "p.json")["rows"][0]["selected_on_evaluation"] is True
    assert "biased" in done.stdout


@pytest.mark.usefixtures("in_short")
def test_audit_of_predictions_has_documented_schema(tmp_path: Path) -> None:
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
    assert result["schema"] == "selena-audit/2"
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
        (("run", "--dataset", "digits", "--n-members", "1797"), "members"),
        (("run", "--dataset", "digits", "--size", "100"), "size"),
        (("run", "--config", "absent.toml"), "absent.toml"),
        (("train", "--dataset", "absent.csv"), "no such file"),
        (("attack", "nowhere"), "not a finished run"),
        (("report", "nowhere"), "not a finished run"),
        (("audit", "--predictions", "absent.npz"), "no such file"),
    ],
)
def test_errors_are_one_line_with_the_fix(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = selena(*arguments, cwd=tmp_path, code=2)
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
