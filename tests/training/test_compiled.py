"""When networks are compiled, for which batches, and what happens where they cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from selena.networks.mlp import MLP
from selena.networks.resnet import small_resnet
from selena.training import gpu_step as module
from selena.training.gpu_step import compiled, worth_compiling
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
