"""Run folders: what is half-written, damaged, stale or foreign is never used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from selena import store
from selena.errors import StoreError
from selena.store import RunFolder

STATE = {"weight": torch.arange(6.0).reshape(2, 3)}
SETTINGS = {"settings": {"defense": "undefended"}, "data": {}, "selected_on_evaluation": False}

AUDIT = {
    "schema": "selena-audit/1",
    "defense": "undefended",
    "seed": 0,
    "attacks": {},
    "best": {},
}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.save_model(STATE, SETTINGS, 1.5)
    return folder


def test_a_model_comes_back_as_it_was(run: RunFolder) -> None:
    assert run.is_trained
    assert torch.equal(run.load_model()["weight"], STATE["weight"])
    assert run.manifest()["timings"] == {"train_seconds": 1.5}


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
    model.unlink()
    with pytest.raises(StoreError, match="absent"):
        run.load_model()


@pytest.mark.parametrize(
    "text", ["{", '{"schema": "selena-run-folder/0"}', '{"schema": "selena-run-folder/1"}', "[]"]
)
def test_a_damaged_or_foreign_manifest_is_refused(run: RunFolder, text: str) -> None:
    (run.path / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match=r"manifest\.json"):
        run.manifest()


@pytest.mark.parametrize(
    "text", ["{", '{"schema": "selena-audit/0"}', '{"schema": "selena-audit/1"}', "[]"]
)
def test_a_damaged_or_foreign_audit_is_refused(run: RunFolder, text: str) -> None:
    run.save_audit(AUDIT)
    (run.path / "audit.json").write_text(text)
    with pytest.raises(StoreError, match=r"audit\.json .* Run `selena attack"):
        run.audit()


def test_a_model_of_other_training_code_is_stale(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "code_digest", lambda: "other")
    assert not run.is_trained


def test_a_run_that_was_not_attacked_says_so(run: RunFolder) -> None:
    with pytest.raises(StoreError, match="selena attack"):
        run.audit()
    run.save_audit(AUDIT)
    assert json.loads((run.path / "audit.json").read_text()) == AUDIT
    assert run.audit() == AUDIT
