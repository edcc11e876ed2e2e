"""When networks are compiled and steps recorded, and what happens where they cannot be.

A GPU's recording is played by a list of what was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

from selena.networks.mlp import MLP
from selena.networks.resnet import small_resnet
from selena.training import gpu_step as module
from selena.training.gpu_step import Replay, compiled, stream_on, worth_compiling
from selena.training.job import Job
from selena.training.recipe import Recipe
from tests.toys import CLASSES

RESNET = small_resnet(CLASSES, (0.5,), (0.25,))
JOBS = [Job(f"{i}", torch.arange(1_000), seed=i) for i in range(10)]
LONG = Recipe(batch_size=100, epochs=300)  # 30,000 steps
CUDA = torch.device("cuda")


@pytest.fixture
def triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the compiler's back end be there."""
    monkeypatch.setattr(module, "find_spec", lambda _name: object())


def own_loss(
    network: Callable[[Tensor], Tensor], x: Tensor, target: Tensor, *, epoch: int
) -> Tensor:
    return network(x).sum() * epoch


@pytest.mark.usefixtures("triton")
def test_long_convolution_training_is_compiled_on_gpu() -> None:
    assert worth_compiling(RESNET, JOBS, LONG, CUDA)
    assert not worth_compiling(RESNET, JOBS, LONG, torch.device("cpu"))
    assert not worth_compiling(RESNET, JOBS, replace(LONG, epochs=299), CUDA)
    assert not worth_compiling(RESNET, JOBS, replace(LONG, loss=own_loss), CUDA)
    assert not worth_compiling(MLP(4, CLASSES, hidden=(4,)), JOBS, LONG, CUDA)


def test_without_a_back_end_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    assert not worth_compiling(RESNET, JOBS, LONG, CUDA)


def compiler(calls: list[int], error: type[Exception] | None = None) -> Callable[..., object]:
    def compile_(network: nn.Module, *, dynamic: bool) -> Callable[[Tensor], Tensor]:
        assert not dynamic

        def fast(x: Tensor) -> Tensor:
            calls.append(len(x))
            if error is not None:
                raise error("no")
            output: Tensor = network(x)
            return output

        return fast

    return compile_


def test_other_batch_sizes_are_computed_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(torch, "compile", compiler(calls))
    network = nn.Linear(3, 2)
    forward = compiled(network, 8)
    for size in (8, 5, 8):
        x = torch.rand(size, 3)
        assert torch.equal(forward(x), network(x))
    assert calls == [8, 8]


def test_a_compiler_that_fails_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(torch, "compile", compiler(calls, RuntimeError))
    network = nn.Linear(3, 2)
    forward, x = compiled(network, 8), torch.rand(8, 3)
    with caplog.at_level("INFO"):
        assert torch.equal(forward(x), network(x))
    assert "not compiled" in caplog.text
    assert torch.equal(forward(x), network(x))
    assert calls == [8]


def test_out_of_memory_is_no_compiler_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", compiler([], torch.OutOfMemoryError))
    with pytest.raises(torch.OutOfMemoryError):
        compiled(nn.Linear(3, 2), 8)(torch.rand(8, 3))


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
