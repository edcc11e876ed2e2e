"""Runs say what their bytes depend on, and nothing that was made otherwise is mixed in."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest

from selena.environment import processor
from selena.experiments import numeric_settings as settings
from selena.experiments.numeric_settings import (
    note_numeric_settings,
    numeric_settings,
    report_numeric_differences,
)
from selena.experiments.pipeline import Case, DataSettings, train
from selena.training import executor
from selena.workspace import Workspace

CASE = Case(
    data=DataSettings("digits", n_members=300),
    defense="undefended",
    seed=1,
    selection="last",
    plan={"hidden": [8], "training": {"epochs": 1}},
    defense_settings={},
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(folder=tmp_path / "artifacts")


def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on there are more threads."""
    here = processor.numeric_environment
    for module in (settings, executor):
        monkeypatch.setattr(
            module, "numeric_environment", lambda *where: {**here(*where), "threads": 99}
        )


def test_a_manifest_says_what_moves_bytes(tmp_path: Path, workspace: Workspace) -> None:
    run = train(CASE, tmp_path, workspace)
    kept = json.loads((run.path / "manifest.json").read_text())["numeric"]
    assert kept == numeric_settings(workspace)
    assert {"torch", "processor", "threads", "cohort_size"} <= set(kept)


def test_a_finished_run_is_reused_elsewhere(
    tmp_path: Path,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = train(CASE, tmp_path, workspace)
    before = (run.path / "manifest.json").read_bytes()
    assert train(CASE, tmp_path, workspace) == run
    assert not caplog.records
    elsewhere(monkeypatch)
    assert train(CASE, tmp_path, workspace) == run
    (said,) = caplog.messages
    assert re.search(r"threads was \d+, is 99", said)
    assert (run.path / "manifest.json").read_bytes() == before  # which names its own conditions


def test_unfinished_work_is_not_used_elsewhere(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(CASE, tmp_path, workspace)
    (run.path / "manifest.json").unlink()  # as if it was killed before its end
    before = {path.name for path in (tmp_path / "artifacts").iterdir()}
    elsewhere(monkeypatch)
    train(CASE, tmp_path, workspace)
    now = {path.name for path in (tmp_path / "artifacts").iterdir()}
    assert len(now) > len(before)
    assert run.manifest().numeric["threads"] == 99


def test_work_begun_elsewhere_is_named(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    note_numeric_settings(workspace)
    note_numeric_settings(workspace)
    assert not caplog.records
    elsewhere(monkeypatch)
    with caplog.at_level(logging.WARNING):
        note_numeric_settings(workspace)
    assert "threads was" in caplog.text


def test_the_note_goes_with_the_artifacts(workspace: Workspace) -> None:
    note_numeric_settings(workspace)
    workspace.clear()
    assert workspace.folder is not None
    assert not workspace.folder.exists()


def test_equal_conditions_are_not_reported(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    report_numeric_differences(Path("run"), numeric_settings(workspace), workspace)
    assert not caplog.records
