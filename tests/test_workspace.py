from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from selena.errors import ConfigError, StoreError
from selena.files import writing as files
from selena.workspace import Silent, Workspace, check_device

PIECE = {"weight": torch.arange(6.0).reshape(2, 3).T, "rows": torch.tensor([3, 1])}


def test_a_artifact_comes_back_as_it_was(tmp_path: Path) -> None:
    workspace = Workspace(folder=tmp_path / "new" / "submodels")
    workspace.save("one", PIECE)
    loaded = workspace.load("one")
    assert loaded is not None
    assert loaded.keys() == PIECE.keys()
    assert all(torch.equal(loaded[key], PIECE[key]) for key in PIECE)
    assert [path.name for path in (tmp_path / "new" / "submodels").iterdir()] == ["one.safetensors"]


@pytest.mark.usefixtures("unchecked")
def test_a_folder_may_be_a_string(tmp_path: Path) -> None:
    folder: Any = str(tmp_path)
    Workspace(folder=folder).save("one", {"a": torch.zeros(1)})
    assert Workspace(folder=tmp_path).load("one") is not None


def test_what_was_never_kept_or_was_discarded_is_none(tmp_path: Path) -> None:
    workspace = Workspace(folder=tmp_path)
    assert workspace.load("one") is None
    workspace.save("one", PIECE)
    workspace.discard("one")
    workspace.discard("one")
    assert workspace.load("one") is None


def test_without_a_folder_nothing_is_kept() -> None:
    workspace = Workspace()
    workspace.save("one", PIECE)
    workspace.discard("one")
    workspace.clear()
    assert workspace.load("one") is None


def test_clear_forgets_its_own_artifacts_and_no_others(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts"
    Workspace(folder=folder).save("foreign", PIECE)
    Workspace(folder=folder).save("found", PIECE)
    workspace = Workspace(folder=folder)
    workspace.save("saved", PIECE)
    workspace.load("found")
    workspace.clear()
    assert [path.name for path in folder.iterdir()] == ["foreign.safetensors"]

    workspace.load("foreign")
    workspace.clear()
    assert not folder.exists()


def test_a_artifact_is_not_swept_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_sync", lambda path: files.sweep(tmp_path))
    Workspace(folder=tmp_path).save("one", PIECE)
    assert [path.name for path in tmp_path.iterdir()] == ["one.safetensors"]


def test_unwritable_artifact_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=r"one\.safetensors cannot be written"):
        Workspace(folder=tmp_path / "artifacts").save("one", PIECE)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_damaged_artifact_names_its_file(tmp_path: Path, keep: int) -> None:
    workspace = Workspace(folder=tmp_path)
    workspace.save("one", PIECE)
    file = tmp_path / "one.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(StoreError, match=r"one\.safetensors is damaged .* Delete it") as caught:
        workspace.load("one")
    assert str(tmp_path) in str(caught.value)


def test_silent_progress_can_be_advanced() -> None:
    with Silent().step("train", total=2) as step:
        step.advance()
        step.advance(0.5)


@pytest.mark.parametrize("device", ["gpu", "cuda:77", "", "meta:1:2"])
def test_a_device_that_is_not_there_is_named(device: str) -> None:
    with pytest.raises(ConfigError, match=f"device={device!r} cannot be used here"):
        check_device(device)
    check_device("cpu")


def test_device() -> None:
    assert Workspace(device="cuda:1").torch_device == torch.device("cuda", 1)
