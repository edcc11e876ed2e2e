"""`selena run` with logs for other programs."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from selena.cli import app
from selena.cli.run import curves

RUN = [
    "run",
    "--dataset",
    "digits",
    "--members",
    "300",
    "--defense",
    "undefended",
    "--attack",
    "confidence",
    "--seed",
    "1",
]


def test_training_curves_are_written_for_tensorboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is an extra")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [*RUN, "--tensorboard", "tb"], catch_exceptions=False)
    assert result.exit_code == 0
    events = EventAccumulator(str(tmp_path / "tb" / "digits-undefended-seed1" / "undefended"))
    events.Reload()
    losses = [point.value for point in events.Scalars("loss")]
    assert [point.step for point in events.Scalars("loss")] == list(range(1, 51))
    assert losses[-1] < losses[0] / 10
    rates = [point.value for point in events.Scalars("learning_rate")]
    assert rates == pytest.approx([1e-3] * 50)


def test_without_a_folder_there_is_no_log() -> None:
    with curves(None) as log:
        assert log is None
