"""Folders that workers map: gone with their process, or cleared by the next one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selena.pools import shared_memory
from selena.pools.shared_memory import clear_shared_memory, shared_folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JOBLIB_TEMP_FOLDER", str(tmp_path))
    shared_memory._folder_of.cache_clear()
    return tmp_path


def leave(place: Path, name: str, *, owner: bool = True) -> Path:
    folder = place / name
    folder.mkdir()
    (folder / "records").write_text("somebody's")
    if owner:
        (folder / "owner").touch()
    return folder


DEAD = f"selena-shared-{'0' * 16}"


def test_folders_of_killed_processes_are_cleared(place: Path) -> None:
    leave(place, DEAD)
    mine = leave(place, "selena-shared-mine")
    clear_shared_memory()
    assert list(place.iterdir()) == [mine]


def test_joblib_folders_of_killed_runs_are_cleared(place: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    name = "joblib_memmapping_folder_{}_" + "0" * 32 + "_" + "1" * 32
    leave(place, name.format(ended.pid))
    others = [leave(place, name.format(os.getpid())), leave(place, "joblib_memmapping_folder_1_2")]
    clear_shared_memory()
    assert sorted(place.iterdir()) == sorted(others)


def test_folders_of_other_users_are_left(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    folder = leave(place, f"joblib_memmapping_folder_{ended.pid}_{'0' * 32}_{'1' * 32}")
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    clear_shared_memory()
    assert folder.exists()


def test_folders_of_living_processes_are_left(place: Path) -> None:
    folder = shared_folder()
    assert folder == shared_folder()
    assert folder.parent == place
    assert folder.stat().st_mode & 0o077 == 0
    clear_shared_memory()
    assert folder.is_dir()


def test_links_are_not_followed(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    target = leave(tmp_path_factory.mktemp("elsewhere"), "target")
    (place / DEAD).symlink_to(target)
    clear_shared_memory()
    assert (target / "records").exists()


def test_unfinished_folders_are_cleared_when_old(place: Path) -> None:
    young, old = leave(place, DEAD, owner=False), leave(place, DEAD[:-1] + "1", owner=False)
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    clear_shared_memory()
    assert young.exists()
    assert not old.exists()


def test_a_process_removes_its_own_folder_only(place: Path) -> None:
    folder = shared_folder()
    shared_memory._remove(folder, os.getpid() + 1)
    assert folder.exists()
    shared_memory._remove(folder, os.getpid())
    assert not folder.exists()
