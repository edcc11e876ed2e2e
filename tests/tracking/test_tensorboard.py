"""Training curves as TensorBoard reads them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from selena.errors import ConfigError
from selena.tracking.tensorboard import TensorBoardLog

pytest.importorskip("tensorboard", reason="TensorBoard (extra tensorboard) is not installed")


def curve(folder: Path, tag: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return [(point.step, point.value) for point in events.Scalars(tag)]


def test_each_network_has_its_own_curves(tmp_path: Path) -> None:
    folder = tmp_path / "curves"
    with TensorBoardLog(folder) as log:
        assert not folder.exists()
        for epoch in (1, 2):
            log.scalars("submodel-0", epoch, {"loss": 1 / epoch, "learning_rate": 0.5})
        log.scalars("submodel-1", 1, {"loss": 8.0, "validation_accuracy": 0.75})
    assert curve(folder / "submodel-0", "loss") == [(1, 1.0), (2, 0.5)]
    assert curve(folder / "submodel-0", "learning_rate") == [(1, 0.5), (2, 0.5)]
    assert curve(folder / "submodel-1", "loss") == [(1, 8.0)]
    assert curve(folder / "submodel-1", "validation_accuracy") == [(1, 0.75)]


def test_logs_have_own_folders_and_close_together(tmp_path: Path) -> None:
    with TensorBoardLog(tmp_path) as log:
        for seed in (0, 1):
            log.under(f"selena-seed{seed}").scalars("student", 1, {"loss": float(seed)})
    for seed in (0, 1):
        assert curve(tmp_path / f"selena-seed{seed}" / "student", "loss") == [(1, float(seed))]


def test_resumed_training_goes_on_with_its_curves(tmp_path: Path) -> None:
    for epochs in ((1, 2), (2, 3)):  # the second was repeated
        with TensorBoardLog(tmp_path) as log:
            for epoch in epochs:
                log.scalars("student", epoch, {"loss": float(epoch)})
    assert dict(curve(tmp_path / "student", "loss")) == {1: 1.0, 2: 2.0, 3: 3.0}


def test_a_missing_package_is_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ConfigError, match=r"selena-privacy\[tensorboard\]"):
        TensorBoardLog(tmp_path)
