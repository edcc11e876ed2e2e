"""Labels of bit-flipped copies: the short way equals the long one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from selena.networks.mlp import MLP
from selena.seeding import seeded, torch_generator
from selena.training import flips as flips_module
from selena.training.flips import FlipPass, flip_bits, flipped_labels
from selena.training.forward import linear_stack
from selena.training.inference import predict

WIDTH, CLASSES = 40, 7


def network(factory: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    with seeded(seed, "weights"):
        model = factory().eval()
    for parameter in model.parameters():
        parameter.data *= 4  # fresh weights predict one class for everything
    return model


def bits(n: int, seed: int = 0, density: float = 0.3) -> torch.Tensor:
    return (torch.rand(n, WIDTH, generator=torch_generator(seed, "bits")) < density).to(torch.uint8)


def plain(model: nn.Module, x: torch.Tensor, flips: torch.Tensor) -> torch.Tensor:
    """One copy after another."""
    copies = [record ^ pattern.to(torch.uint8) for record in x for pattern in flips]
    answers = [int(predict(model, copy[None]).argmax()) for copy in copies]
    return torch.tensor(answers).view(len(x), len(flips))


def never_fast(_device: torch.device) -> bool:
    return False


def always_fast(_device: torch.device) -> bool:
    return True


@pytest.mark.parametrize("fast", [never_fast, always_fast])
@pytest.mark.parametrize(
    "factory",
    [
        MLP(WIDTH, CLASSES, hidden=(64, 32)),
        MLP(WIDTH, CLASSES, hidden=(64,), activation="relu"),
        MLP(WIDTH, CLASSES, hidden=()),
        MLP(WIDTH, CLASSES, hidden=(16,), standardize=True),  # no plain stack
    ],
)
def test_labels_are_those_of_the_flipped_records(
    factory: MLP, fast: Callable[[torch.device], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flips_module, "has_fast_bfloat16", fast)
    monkeypatch.setattr(flips_module, "_CPU_ROWS", 16)  # several steps, the last one short
    model, x, flips = network(factory), bits(37), bits(9, seed=1, density=0.2).bool()
    labels = flipped_labels(model, x, flips)
    assert torch.equal(labels, plain(model, x, flips))
    assert len(labels.unique()) > 2


def test_bf16_alone_would_be_wrong_somewhere() -> None:
    """Else the test above could not tell whether doubtful copies are computed again."""
    model, x, flips = network(MLP(WIDTH, CLASSES, hidden=(64, 32))), bits(400), bits(8, 1).bool()
    layers = linear_stack(model)
    assert layers is not None
    rounded, _ = FlipPass(layers, torch.device("cpu"), torch.bfloat16).labels(x, flips)
    exact = predict(model, flip_bits(x, flips)).argmax(dim=1).view(400, 8)
    assert not torch.equal(rounded, exact)
    assert torch.equal(flipped_labels(model, x, flips), exact)


@given(st.integers(0, 5), st.integers(0, 4), st.integers(0, 99))
def test_any_number_of_records_and_patterns(n: int, k: int, seed: int) -> None:
    model = network(MLP(WIDTH, CLASSES, hidden=(8,)))
    x, flips = bits(n, seed), bits(k, seed + 1).bool()
    labels = flipped_labels(model, x, flips)
    assert labels.shape == (n, k)
    if n and k:
        assert torch.equal(labels, plain(model, x, flips))
