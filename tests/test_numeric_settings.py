"""Runs say what their bytes depend on, and nothing that was made otherwise is mixed in."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from selena import environment, processor
from selena.environment import (
    check_numeric_settings,
    note_numeric_settings,
    numeric_settings,
)
from selena.errors import StoreError
from selena.experiments.pipeline import Case, DataSettings, train
from selena.workspace import Workspace

CASE = Case(
    data=DataSettings("digits", members=300),
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
    monkeypatch.setattr(
        environment, "numeric_environment", lambda device: {**here(device), "threads": 99}
    )


def test_a_manifest_says_what_moves_bytes(tmp_path: Path, workspace: Workspace) -> None:
    run = train(CASE, tmp_path, workspace)
    kept = json.loads((run.path / "manifest.json").read_text())["numeric"]
    assert kept == numeric_settings(workspace)
    assert {"torch", "processor", "threads", "cohort_size"} <= set(kept)


def test_a_run_that_goes_on_elsewhere_says_what_differs(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(CASE, tmp_path, workspace)
    assert train(CASE, tmp_path, workspace) == run
    elsewhere(monkeypatch)
    with pytest.raises(StoreError, match=r"threads was \d+, is 99"):
        train(CASE, tmp_path, workspace)


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


def test_what_was_made_alike_passes(workspace: Workspace) -> None:
    check_numeric_settings(Path("run"), numeric_settings(workspace), workspace)
