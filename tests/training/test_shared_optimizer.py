"""One optimizer for several lanes steps as each lane's own would."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from selena.training.job import Job
from selena.training.lane import Lane
from selena.training.recipe import Recipe
from selena.training.shared_optimizer import SharedOptimizer
from selena.training.task import build
from selena.workspace import Workspace
from tests.toys import NETWORK, RECIPE

# Steps of two lanes: who moves, at which rates.
MOVES = ((1e-2, 1e-2), (1e-2, None), (2e-2, 1e-3), (None, 1e-3), (5e-3, 5e-3))


def lanes(recipe: Recipe) -> list[Lane]:
    made = [
        Lane(
            Job(f"lane-{i}", torch.arange(4), i),
            key=f"{i}",
            network=build(NETWORK, i, torch.device("cpu")),
            recipe=recipe,
            workspace=Workspace(),
        )
        for i in range(2)
    ]
    for lane in made:
        lane.start()
    return made


def give_gradients(lane: Lane, step: int) -> None:
    draws = torch.Generator().manual_seed(step)
    for parameter in lane.network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=draws)


def contents(lane: Lane) -> list[Tensor]:
    state = lane.optimizer.state_dict()["state"]
    kept = [tensor for entry in state.values() for tensor in entry.values() if tensor is not None]
    return [*lane.network.parameters(), *kept]


@pytest.mark.parametrize(
    "recipe",
    [RECIPE, replace(RECIPE, optimizer="sgd", momentum=0.9, weight_decay=1e-3)],
    ids=["adam", "sgd"],
)
def test_lanes_step_as_they_would_alone(recipe: Recipe) -> None:
    together, alone = lanes(recipe), lanes(recipe)
    shared = SharedOptimizer(together, recipe)
    for step, move in enumerate(MOVES):
        rates = {lane: rate for lane, rate in zip(together, move, strict=True) if rate is not None}
        for lane in rates:
            give_gradients(lane, step)
        shared.step(rates)
        for lane, rate in zip(alone, move, strict=True):
            if rate is not None:
                give_gradients(lane, step)
                lane.step(rate)
        assert all(p.grad is None for lane in together for p in lane.network.parameters())
    for one, other in zip(together, alone, strict=True):
        assert one.rate == other.rate
        mine, theirs = contents(one), contents(other)
        assert len(mine) == len(theirs) > len(list(one.network.parameters()))
        assert all(map(torch.equal, mine, theirs))
