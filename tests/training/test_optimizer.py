"""Several networks' optimizers step as PyTorch's own would, one per network."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from selena.training.optimizer import Optimizer, step_optimizers
from selena.training.recipe import Recipe
from selena.training.task import build
from tests.toys import NETWORK, RECIPE

# Steps of two networks: who moves, at which rates.
MOVES = ((1e-2, 1e-2), (1e-2, None), (2e-2, 1e-3), (None, 1e-3), (5e-3, 5e-3))
RECIPES = {
    "adam": RECIPE,
    "adam with decay": replace(RECIPE, weight_decay=1e-2),
    "sgd": replace(RECIPE, optimizer="sgd"),
    "sgd with all": replace(RECIPE, optimizer="sgd", momentum=0.9, weight_decay=1e-3),
}


def torchs_own(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    if recipe.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), weight_decay=recipe.weight_decay, fused=True)
    return torch.optim.SGD(
        network.parameters(),
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def give_gradients(network: nn.Module, step: int) -> None:
    draws = torch.Generator().manual_seed(step)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=draws)


def networks() -> list[nn.Module]:
    return [build(NETWORK, seed, torch.device("cpu")) for seed in range(2)]


def weights(network: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_networks_step_as_by_pytorchs_own_optimizers(recipe: Recipe) -> None:
    together, alone = networks(), networks()
    optimizers = [Optimizer(network.parameters(), recipe) for network in together]
    others = [torchs_own(recipe, network) for network in alone]
    for step, move in enumerate(MOVES):
        rates = {o: rate for o, rate in zip(optimizers, move, strict=True) if rate is not None}
        for network, other, optimizer, rate in zip(together, alone, others, move, strict=True):
            if rate is not None:
                give_gradients(network, step)
                give_gradients(other, step)
                optimizer.param_groups[0]["lr"] = rate
                optimizer.step()
        for rate in set(rates.values()):
            step_optimizers([o for o, own in rates.items() if own == rate], rate)
        assert all(p.grad is None for network in together for p in network.parameters())
    for one, other in zip(together, alone, strict=True):
        assert torch.equal(weights(one), weights(other))


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_what_is_remembered_can_be_taken_over(recipe: Recipe) -> None:
    (first, second), (again, _) = networks(), networks()
    one = Optimizer(first.parameters(), recipe)
    give_gradients(first, 0)
    one.step(1e-2)
    kept = {name: tensor.clone() for name, tensor in one.state_dict().items()}
    again.load_state_dict(first.state_dict())
    other = Optimizer(again.parameters(), recipe)
    other.load_state_dict(kept)
    for network, optimizer in ((first, one), (again, other)):
        give_gradients(network, 1)
        optimizer.step(1e-2)
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(second))


def test_a_parameter_without_a_gradient_stays_as_it_is() -> None:
    network, _ = networks()
    before = weights(network).clone()
    optimizer = Optimizer(network.parameters(), RECIPE)
    optimizer.step(1e-2)
    assert torch.equal(weights(network), before)
    first, *_ = network.parameters()
    first.grad = torch.ones_like(first)
    optimizer.step(1e-2)
    assert not torch.equal(weights(network)[: first.numel()], before[: first.numel()])
    assert torch.equal(weights(network)[first.numel() :], before[first.numel() :])
    assert [float(entry["step"]) for entry in optimizer.state] == [1, 0, 0, 0]


@pytest.mark.deep
def test_training_does_not_import_pytorchs_compiler() -> None:
    """It takes every process seconds; PyTorch's own optimizers import it."""
    program = """
import sys, torch
from selena.training.engine import fit_networks
from selena.training.job import Examples, Job
from tests.toys import NETWORK, RECIPE, toy_records
records = toy_records(64)
jobs = [Job(str(i), torch.arange(64), i) for i in range(2)]
fit_networks(NETWORK, Examples(records.x, records.y), jobs, RECIPE)
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    assert done.stdout.strip() == "False", done.stderr
