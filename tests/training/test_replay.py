"""What is recorded and when, with a GPU's recording played by a list of what was asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from selena.training.gpu_step import Replay, stream_on

STREAM = Mock(spec=torch.cuda.Stream)


class Adder:
    """Adds its inputs up; while it is recorded it does nothing, but is done again by a replay."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, fails: bool = False) -> None:
        self.total, self.calls, self.recordings = torch.zeros(2), 0, 0
        self.recording: object | None = None
        adder = self

        class Graph:
            inputs: tuple[Tensor, ...] = ()

            def replay(self) -> None:
                adder.total += sum(self.inputs)

        @contextmanager
        def record(graph: Graph, stream: object) -> Iterator[None]:
            assert stream is STREAM
            adder.recordings += 1
            adder.recording = graph
            yield
            adder.recording = None
            if fails:
                raise RuntimeError("operation not permitted when stream is capturing")

        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(torch.cuda, "graph", record)
        monkeypatch.setattr(torch.cuda, "stream", lambda _stream: nullcontext())
        monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor)

    def __call__(self, *inputs: Tensor) -> None:
        if self.recording is not None:
            self.recording.inputs = inputs  # type: ignore[attr-defined]
            return
        self.calls += 1
        self.total += sum(inputs)


def run(adder: Adder, stream: torch.cuda.Stream | None, *, record: bool = True) -> None:
    step = Replay(adder, torch.device("cpu"), stream, record=record)
    for i in range(6):
        step(torch.full((2,), float(i)), torch.tensor([10.0, 20.0]))
    assert adder.total.tolist() == [75.0, 135.0]  # each call counts once, with its own inputs


def test_step_is_recorded_after_three_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    adder = Adder(monkeypatch)
    run(adder, STREAM)
    assert (adder.calls, adder.recordings) == (3, 1)


def test_what_cannot_be_recorded_runs_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    adder = Adder(monkeypatch, fails=True)
    with caplog.at_level("INFO"):
        run(adder, STREAM)
    assert (adder.calls, adder.recordings) == (6, 1)
    assert "not recorded" in caplog.text


def test_what_may_not_be_recorded_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    adder = Adder(monkeypatch)
    run(adder, STREAM, record=False)
    assert (adder.calls, adder.recordings) == (6, 0)


def test_a_processor_runs_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    adder = Adder(monkeypatch)
    run(adder, stream_on(torch.device("cpu")))
    assert (adder.calls, adder.recordings) == (6, 0)
