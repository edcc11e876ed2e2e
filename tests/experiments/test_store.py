"""Run folders: what is half-written, damaged, edited, stale or foreign is never used."""

from __future__ import annotations

import errno
import json
import logging
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from selena.auditing.conditions import parse_condition
from selena.auditing.gate import exit_code, judge
from selena.errors import StoreError
from selena.experiments import store
from selena.experiments.manifest import sealed
from selena.experiments.pipeline import Case, attack
from selena.experiments.results import read_results
from selena.experiments.store import RunFolder
from selena.files.writing import file_sha256, write_json
from selena.workspace import Workspace
from tests.reports.made import folder as attacked_folder
from tests.reports.made import manifest_of
from tests.run_folders import SETTINGS, make_run_folder

STATE = {"weight": torch.arange(6.0).reshape(2, 3)}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.save_model(STATE, manifest_of("undefended"))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of a made-up model, with the scores of two attacks; never change it."""
    return attacked_folder(tmp_path_factory.mktemp("made") / "run")


@pytest.fixture
def attacked(made: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of it."""
    return RunFolder(Path(shutil.copytree(made.path, tmp_path / "run")))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that was trained and attacked; never change it."""
    return make_run_folder(tmp_path_factory.mktemp("real"))


def test_a_model_comes_back_as_it_was(run: RunFolder) -> None:
    assert run.is_trained
    assert torch.equal(run.load_model()["weight"], STATE["weight"])
    assert run.manifest() == replace(
        manifest_of("undefended"), model_sha256=file_sha256(run.path / "model.safetensors")
    )


def test_a_manifest_is_written_as_it_was_read(attacked: RunFolder) -> None:
    path = attacked.path / "manifest.json"
    before = path.read_bytes()
    attacked._write(attacked.manifest())
    assert path.read_bytes() == before


def test_a_folder_without_manifest_is_not_a_run(run: RunFolder) -> None:
    (run.path / "manifest.json").unlink()
    assert not run.is_trained
    with pytest.raises(StoreError, match="not a finished run"):
        run.load_model()


def test_a_model_that_is_not_the_manifests_is_refused(run: RunFolder) -> None:
    model = run.path / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(StoreError, match="SHA-256"):
        run.load_model()
    assert not run.is_trained
    model.unlink()
    with pytest.raises(StoreError, match="absent"):
        run.load_model()
    assert not run.is_trained


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"schema": "selena-run-folder/1"}',
        '{"schema": "selena-run-folder/2"}',
        '{"schema": NaN}',
        f'{{"schema": {"9" * 5000}}}',
    ],
)
def test_a_damaged_or_foreign_manifest_is_refused(run: RunFolder, text: str) -> None:
    (run.path / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match=r"manifest\.json .* train again"):
        run.manifest()


def test_a_manifest_that_is_no_file_is_refused(run: RunFolder) -> None:
    path = run.path / "manifest.json"
    path.unlink()
    os.mkfifo(path)  # reading it would wait for ever
    with pytest.raises(StoreError, match=r"manifest\.json is damaged"):
        run.manifest()


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_an_edited_manifest_is_refused(run: RunFolder) -> None:
    edit(run.path / "manifest.json", selected_on_evaluation=True)
    with pytest.raises(StoreError, match="was edited"):
        run.manifest()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("code", 1, "code must be an object"),
        ("settings", {}, r"settings\.data is lacking"),
        ("selected_on_evaluation", 1, "must be true or false"),
        ("model_sha256", None, "must be text"),
        ("timings", {"train_seconds": True}, "must be a number"),
        ("scores", [], "scores must be an object"),
        ("scores", {"../x.safetensors": ""}, "names no file of scores"),
    ],
)
def test_a_sealed_manifest_of_wrong_types_is_refused(
    run: RunFolder, key: str, value: object, message: str
) -> None:
    write_json(run.path / "manifest.json", sealed({**run.manifest().to_json(), key: value}))
    with pytest.raises(StoreError, match=message):
        run.manifest()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("attacks", [], "attacks must be an object"),
        ("attacks", {"a": {}}, r"attacks\.a\.family is lacking"),
        ("train_accuracy", {"correct": 5, "n": 4, "trials": 4}, "counts no share"),
        ("test_accuracy", {"correct": 0, "n": 0, "trials": 0}, "counts no share"),
        ("setup", 1, "setup must be an object"),
        ("inputs", {"records": 1}, "inputs must hold text"),
    ],
)
def test_a_sealed_audit_of_wrong_types_is_refused(
    attacked: RunFolder, key: str, value: object, message: str
) -> None:
    manifest = attacked.manifest()
    manifest.audited[key] = value
    attacked._write(manifest)
    with pytest.raises(StoreError, match=message):
        attacked.audit()


def test_a_path_out_of_the_folder_is_no_file_of_scores(attacked: RunFolder) -> None:
    manifest = attacked.manifest()
    manifest.audited["attacks"]["confidence"]["scores"] = "../../other.safetensors"
    attacked._write(manifest)
    with pytest.raises(StoreError, match="names no file of scores"):
        attacked.audit()


def test_a_model_of_other_training_code_is_stale(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "code_digest", lambda: "other")
    assert not run.is_trained


def test_a_run_that_was_not_attacked_says_so(run: RunFolder) -> None:
    with pytest.raises(StoreError, match="selena attack"):
        run.audit()
    assert run.audited() == {}


def test_an_audit_is_read_as_it_was_written(attacked: RunFolder) -> None:
    assert attacked.audit() == json.loads((attacked.path / "audit.json").read_text())


def test_an_edited_audit_changes_nothing(
    attacked: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    row = attacked.audit()
    text = (attacked.path / "audit.json").read_text()
    edited = re.sub(r"\b0\.\d+", "0.0", text)  # every figure and interval
    assert edited != text
    (attacked.path / "audit.json").write_text(edited)
    condition = [parse_condition("advantage>0.1")]
    with caplog.at_level(logging.WARNING):
        (judged,) = read_results([attacked.path]).rows
    assert judged == row
    assert exit_code(judge(attacked.report(), condition)) == 3
    assert "audit.json is absent or was edited" in caplog.text


@pytest.mark.parametrize("change", ["edited", "absent", "no safetensors"])
def test_edited_scores_are_refused(attacked: RunFolder, change: str) -> None:
    (path,) = attacked.scores_folder.glob("confidence-*")
    kept = Workspace(folder=attacked.scores_folder)
    if change == "edited":
        tensors = kept.load(path.stem)
        assert tensors is not None
        tensors["evaluation/scores"] = torch.zeros_like(tensors["evaluation/scores"])
        kept.save(path.stem, tensors)
    elif change == "absent":
        path.unlink()
    else:
        path.write_bytes(b"x" * 100)
    with pytest.raises(StoreError, match=rf"{path.name} is absent, edited .* Run `selena attack"):
        attacked.audit()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("evaluation/scores", torch.zeros(3, 2, dtype=torch.float64)),
        ("evaluation/truth", torch.ones(3, dtype=torch.int64)),
        ("evaluation/labels", torch.ones(1, dtype=torch.int64)),
        ("queries", torch.tensor(-1)),
        ("calibration/scores", None),
    ],
)
def test_scores_of_wrong_types_are_refused(
    attacked: RunFolder, name: str, value: torch.Tensor | None
) -> None:
    (path,) = attacked.scores_folder.glob("confidence-*")
    kept = Workspace(folder=attacked.scores_folder)
    tensors = kept.load(path.stem)
    assert tensors is not None
    del tensors[name]
    kept.save(path.stem, tensors if value is None else {**tensors, name: value})
    manifest = attacked.manifest()
    manifest.scores[path.name] = attacked._digest(path.name)
    attacked._write(manifest)
    with pytest.raises(StoreError, match=path.name):
        attacked.audit()


def test_damaged_scores_are_made_anew(
    real: RunFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = RunFolder(tmp_path / real.path.name)
    shutil.copytree(real.path, run.path)
    (path,) = run.scores_folder.glob("confidence-*")
    content = path.read_bytes()
    path.write_bytes(content[:-8])
    with caplog.at_level(logging.WARNING):
        attack(run, SETTINGS.attacks, Workspace())
    assert "that attack is run anew" in caplog.text
    assert run.audit() == real.audit()


def test_settings_of_a_wrong_type_name_the_folder(real: RunFolder, tmp_path: Path) -> None:
    run, manifest = RunFolder(tmp_path / "run"), real.manifest()
    manifest.settings.data["partition"] = {}
    run.save_model(STATE, manifest)
    with pytest.raises(StoreError, match=r"run: partition=\{\} has the wrong type"):
        Case.from_run(run)


def test_a_model_of_another_network_is_named(real: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    manifest = real.manifest()
    run.save_model({"weight": torch.zeros(1)}, manifest)
    with pytest.raises(StoreError, match=r"run/model\.safetensors holds no .*weight"):
        attack(run, SETTINGS.attacks, Workspace())


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_refuses_leaves_no_torn_run(
    reason: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, said = os.fsync, []
    for allowed in range(20):
        run, left = RunFolder(tmp_path / str(allowed)), iter(range(allowed))

        def fsync(descriptor: int, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise OSError(reason, os.strerror(reason))
            sync(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)
        try:
            run.save_model(STATE, manifest_of("undefended"))
        except (OSError, StoreError) as error:
            said.append(str(error))
        monkeypatch.setattr(os, "fsync", sync)
        assert list(run.path.glob(".selena-*")) == []
        if next(left, None) is not None:  # more was allowed than was needed
            break
        if run.is_trained:
            assert torch.equal(run.load_model()["weight"], STATE["weight"])
        run.save_model(STATE, manifest_of("undefended"))
        assert run.is_trained
    assert 2 <= len(said) < 20
    assert all(os.strerror(reason) in each for each in said)


@pytest.mark.deep
def test_two_processes_share_a_runs_folder() -> None:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "tests.kills", "--together", "run"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Disk:
    """What a power cut may leave: synced content and names, and of later names any."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: dict[int, bytes] = {}
        self.events: list[tuple[Path, int, bytes | None]] = []
        """A name, the file that has it from then on, and its synced content."""
        self.barriers: list[tuple[int, Path]] = []
        before_sync, before_replace = os.fsync, os.replace

        def fsync(descriptor: int) -> None:
            before_sync(descriptor)
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            if path.is_dir():
                self.barriers.append((len(self.events), path))
            else:
                self.synced[path.stat().st_ino] = path.read_bytes()

        def replace(source: Path, target: Path) -> None:
            inode = Path(source).stat().st_ino
            before_replace(source, target)
            self.events.append((Path(target), inode, self.synced.get(inode)))

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "replace", replace)

    def cut(self, moment: int, original: Path, copy: Path, draw: random.Random) -> None:
        """Write into `copy` what may lie in `original` after a cut behind `moment` events."""
        for name in dict.fromkeys(name for name, *_ in self.events):
            mine = [i for i, (n, *_) in enumerate(self.events[:moment]) if n == name]
            lasting = max(
                (at for at, f in self.barriers if at <= moment and f == name.parent), default=0
            )
            choices: list[int | None] = [i for i in mine if i >= lasting]
            before = [i for i in mine if i < lasting]
            choice = draw.choice([before[-1] if before else None, *choices])
            if choice is not None:
                content = self.events[choice][2]
                path = copy / name.relative_to(original)
                path.parent.mkdir(parents=True, exist_ok=True)
                # What was renamed before it was synced may be empty.
                path.write_bytes(b"" if content is None else content)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_power_cut_leaves_no_torn_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    original = attacked_folder(tmp_path / "run")
    row, draw = original.audit(), random.Random(0)
    trained = audited = 0
    for number in range(20):
        copy = RunFolder(tmp_path / f"cut{number}")
        copy.path.mkdir()
        disk.cut(draw.randrange(len(disk.events) + 1), original.path, copy.path, draw)
        if not copy.is_trained:
            continue
        trained += 1
        assert torch.equal(copy.load_model()["p"], original.load_model()["p"])
        if copy.audited():
            audited += 1
            assert copy.audit() == row
    assert trained > audited > 0
