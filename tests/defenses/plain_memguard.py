"""MemGuard's noise search as it is told, and networks to search against."""

from __future__ import annotations

from unittest.mock import patch

import torch
from torch import Tensor, nn

from selena.defenses.memguard_inference import InferenceNetwork
from selena.defenses.memguard_noise import NoiseSearch
from selena.defenses.memguard_walk import Walks
from selena.networks.mlp import MLP
from selena.seeding import seeded


def one_by_one(search: NoiseSearch, network: nn.Module, query: Tensor) -> tuple[Tensor, int]:
    """Search for one query, by autograd, with no state that is shared.

    Returns:
        The last logits found, and for how many values of c3 there were any.
    """
    z_0, label = query.clone(), len(query) - 1

    def h(z: Tensor) -> Tensor:
        output: Tensor = network(z.softmax(0).float()[None])
        return output.double().squeeze()

    first, p_0 = float(h(z_0).detach()), z_0.softmax(0)
    best, successes, c3 = z_0, 0, search.c3
    if abs(torch.tensor(first).double().sigmoid().item() - 0.5) <= search.undecided:
        return best, 0
    while c3 <= search.c3_most:
        z, success = z_0.clone(), False
        for _ in range(search.most_steps):
            z.requires_grad_()
            loss = (
                search.c1 * h(z).abs()
                + search.c2 * torch.relu(z[:label].max() - z[label])
                + c3 * (z.softmax(0) - p_0).abs().sum()
            )
            (slope,) = torch.autograd.grad(loss, z)
            z = (z - search.step * slope / slope.norm().clamp_min(1e-300)).detach()
            if bool(z[label] > z[:label].max()) and float(h(z).detach()) * first <= 0:
                success = True
                break
        if not success:
            break
        best, successes, c3 = z, successes + 1, c3 * search.c3_factor
    return best, successes


def inference_network(classes: int, seed: int = 0, scale: float = 3.0) -> nn.Module:
    """Return an untrained network whose decisions depend on its input."""
    with seeded(seed, "h"):
        network = MLP(classes, 1, hidden=(16, 8), activation="relu")()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(scale)
        generator = torch.Generator().manual_seed(seed)
        logits = 3 * torch.randn(200, classes, generator=generator)
        middle = network(logits.softmax(dim=1).sort(dim=1).values).median()
        list(network.parameters())[-1].sub_(middle)
    return network


def work(search: NoiseSearch, network: nn.Module, queries: Tensor) -> tuple[int, int]:
    """Return how many steps this library's search takes, and how often it asks the network."""
    with (
        patch.object(Walks, "step", autospec=True, side_effect=Walks.step) as step,
        patch.object(
            InferenceNetwork, "pieces", autospec=True, side_effect=InferenceNetwork.pieces
        ) as pieces,
    ):
        search.run(network, queries)
    steps = sum(len(call.args[-1]) for call in step.call_args_list)
    return steps, sum(len(call.args[-1]) for call in pieces.call_args_list)
