"""Float32 products by oneDNN in training: what takes them, and that only last bits change."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from selena import processor
from selena.defenses.adversarial_regularization import AdversarialRegularization
from selena.networks.membership import MembershipNetwork
from selena.networks.mlp import MLP
from selena.processor import mkl_is_slow
from selena.seeding import child_seed, seeded, torch_generator
from selena.training import products as products_module
from selena.training.engine import fit_networks
from selena.training.job import Examples, Job
from selena.training.linear_stack import linear
from selena.training.products import fast_products
from selena.training.recipe import Recipe
from selena.workspace import Workspace
from tests.toys import CLASSES, FEATURES, NETWORK, RECIPE, toy_records

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every processor take oneDNN's products, which `linear` replaces where there are none."""
    monkeypatch.setattr(products_module, "mkl_is_slow", lambda: True)


@pytest.fixture
def multiplied(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the left sides of all such products."""
    shapes: list[tuple[int, ...]] = []

    def count(x: Tensor, weight: Tensor, *rest: Any) -> Tensor:
        shapes.append(tuple(x.shape))
        for side in (x, weight):  # oneDNN may take a thousand times as long for others
            assert side.is_contiguous() or side.t().is_contiguous()
        return linear(x, weight, *rest)

    monkeypatch.setattr(products_module, "linear", count)
    return shapes


class Checkpointed(nn.Module):
    """Computes its hidden layer a second time in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(20, 16), nn.Linear(16, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = checkpoint(lambda x: self.first(x).tanh(), x, use_reentrant=False)
        output: Tensor = self.second(hidden)
        return output


class Parallel(nn.Module):
    """Holds two networks as one stack of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(2, 3, 20) - 0.5)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = torch.vmap(functional.linear, (None, 0))(x, self.weight)
        return output.mean(dim=0)


def both_ways(network: nn.Module, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return (as usual, by oneDNN) of the outputs, the gradient of `x` and of every parameter."""
    found: list[list[Tensor]] = []
    for by_onednn in (False, True):
        same, inputs = deepcopy(network), x.clone().requires_grad_()
        with fast_products([same] if by_onednn else [], CPU):
            output = same(inputs)
            (output**2).sum().backward()
        assert inputs.grad is not None
        gradients = [p.grad for p in same.parameters() if p.grad is not None]
        found.append([output.detach(), inputs.grad, *gradients])
    return list(zip(*found, strict=True))


@pytest.mark.parametrize("shape", [(7, 20), (64, 20), (130, 20), (5, 2, 20), (1, 20)])
@pytest.mark.parametrize(
    "build",
    [
        MLP(20, 3, hidden=(32, 16)),
        MembershipNetwork(12, 8),
        Checkpointed,
        partial(nn.Linear, 20, 3, bias=False),
    ],
    ids=["stack", "towers", "checkpointed", "no bias"],
)
def test_outputs_and_gradients_are_the_same(
    build: Callable[[], nn.Module],
    shape: tuple[int, ...],
    multiplied: list[tuple[int, ...]],
) -> None:
    if len(shape) > 2 and isinstance(build, MLP):
        pytest.skip("it flattens what a record consists of")
    with seeded(1, "weights"):
        network = build()
        if isinstance(build, MembershipNetwork):  # its weights start out tiny
            for parameter in network.parameters():
                nn.init.uniform_(parameter, -0.1, 0.1)
    x = torch.rand(shape, generator=torch_generator(0, "x"))
    for usual, ours in both_ways(network, x):
        torch.testing.assert_close(ours, usual, rtol=0, atol=1e-4 * float(usual.abs().max()))
    assert multiplied


def test_kernels_are_asked_for_few_numbers_of_rows(multiplied: list[tuple[int, ...]]) -> None:
    for rows in range(1, 100, 7):
        both_ways(nn.Linear(20, 3), torch.rand(rows, 20))
    assert {size for shape in multiplied for size in shape} <= {3, 20, 64, 128}


def test_nothing_is_computed_that_nobody_needs(multiplied: list[tuple[int, ...]]) -> None:
    network = nn.Linear(20, 3).requires_grad_(False)
    with fast_products([network], CPU):
        network(torch.rand(64, 20, requires_grad=True)).sum().backward()
    assert multiplied == [(64, 20), (64, 3)]
    assert network.weight.grad is network.bias.grad is None


@pytest.mark.parametrize(
    ("network", "x"),
    [
        (nn.Linear(20, 3), torch.rand(20)),
        (nn.Linear(20, 3).double(), torch.rand(8, 20, dtype=torch.float64)),
        (Parallel(), torch.rand(8, 20)),
        (nn.Conv1d(20, 3, 1), torch.rand(4, 20, 5)),
    ],
    ids=["one record", "float64", "vmap", "convolution"],
)
def test_others_compute_as_they_do(
    network: nn.Module, x: Tensor, multiplied: list[tuple[int, ...]]
) -> None:
    assert all(torch.equal(usual, ours) for usual, ours in both_ways(network, x))
    assert not multiplied


def test_autocast_keeps_its_precision(multiplied: list[tuple[int, ...]]) -> None:
    network = nn.Linear(20, 3)
    with fast_products([network], CPU), torch.autocast("cpu", torch.bfloat16):
        assert network(torch.rand(8, 20)).dtype == torch.bfloat16
    assert not multiplied


def test_gradients_of_gradients_are_refused() -> None:
    network, x = MLP(20, 3, hidden=(8,))(), torch.rand(8, 20, requires_grad=True)
    with fast_products([network], CPU):
        (slope,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            (slope**2).sum().backward()


def train(loss: Any = "cross_entropy") -> nn.Module:
    draw = torch_generator(2, "records")
    x = torch.rand(300, 20, generator=draw)
    y = (3 * x[:, 0]).long()
    recipe = Recipe(epochs=3, batch_size=128, precision="float32", loss=loss)
    job = Job("one", torch.arange(300), child_seed(0, "one"))
    network = MLP(20, 3, hidden=(32, 16))
    return fit_networks(network, Examples(x, y), [job], recipe, workspace=Workspace())[0]


def test_training_takes_them(
    multiplied: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = train().state_dict()
    # Three layers forth, three gradients of weights and two of inputs; three steps, three epochs.
    assert len(multiplied) == 8 * 9
    monkeypatch.setattr(products_module, "mkl_is_slow", lambda: False)
    usual = train().state_dict()
    assert len(multiplied) == 8 * 9
    for name, weights in usual.items():
        # A tenth of a step of Adam, which makes steps of rounding where gradients are tiny.
        torch.testing.assert_close(ours[name], weights, rtol=0, atol=1e-4)


def test_both_players_of_adversarial_regularization_take_them(
    multiplied: list[tuple[int, ...]],
) -> None:
    short = replace(RECIPE, epochs=1)
    game = AdversarialRegularization(
        NETWORK, CLASSES, short, warm_up_epochs=0, attack_passes=1, attack_recipe=short
    )
    game.fit(toy_records(20), toy_records(20, seed=1, start=100), seed=0)
    widths = {width for _, width in multiplied}
    assert {FEATURES, 16} <= widths, "the classifier's layers"
    assert 128 in widths, "where the adversary joins its towers"


def steep(network: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, *, epoch: int) -> Tensor:
    """Return a loss that punishes steep answers, by gradients of gradients."""
    inputs = x.clone().requires_grad_()
    loss = functional.cross_entropy(network(inputs), y)
    (slope,) = torch.autograd.grad(loss, inputs, create_graph=True)
    return loss + (slope**2).sum()


def test_a_loss_of_ones_own_may_ask_for_more(multiplied: list[tuple[int, ...]]) -> None:
    assert all(torch.isfinite(p).all() for p in train(steep).parameters())
    assert not multiplied


@pytest.mark.parametrize(
    ("name", "kernels", "expected"),
    [
        ("AMD EPYC 9654", True, True),
        ("AMD EPYC 9654", False, False),
        ("Intel(R) Xeon(R)", True, False),
        ("x86_64", True, False),
    ],
)
def test_the_makers_name_decides(
    monkeypatch: pytest.MonkeyPatch, name: str, *, kernels: bool, expected: bool
) -> None:
    monkeypatch.setattr(processor, "processor_name", lambda: name)
    monkeypatch.setattr(processor, "has_fused_kernels", lambda: kernels)
    assert mkl_is_slow() is expected


def test_layers_are_left_as_they_were() -> None:
    network = MLP(20, 3)()

    def interrupted() -> None:
        with fast_products([network], CPU):
            assert any("forward" in vars(module) for module in network.modules())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not any("forward" in vars(module) for module in network.modules())
