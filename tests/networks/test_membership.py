from __future__ import annotations

import torch
from torch import nn

from selena.networks.membership import MembershipNetwork

WIDTH, CLASSES = 5, 3


def output(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        answer: torch.Tensor = network(x)
    return answer


def test_each_vector_has_a_tower_of_its_own() -> None:
    network = MembershipNetwork(WIDTH, CLASSES, vectors=2)()
    firsts = [m for m in network.modules() if isinstance(m, nn.Linear) and m.out_features == 1024]
    assert [layer.in_features for layer in firsts] == [WIDTH, WIDTH]
    assert not torch.equal(firsts[0].weight, firsts[1].weight)
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.01)  # so that no ReLU is at 0
    x = torch.rand(4, 2 * WIDTH + CLASSES, generator=torch.Generator().manual_seed(0))
    moved = x.clone()
    moved[:, WIDTH : 2 * WIDTH] += 1
    nn.init.zeros_(firsts[1].weight)  # deaf to the second vector, and to it alone
    assert torch.equal(output(network, x), output(network, moved))
    moved[:, :WIDTH] += 1
    assert not torch.equal(output(network, x), output(network, moved))


def test_one_vector_is_the_network_of_before() -> None:
    shapes = [tuple(p.shape) for p in MembershipNetwork(WIDTH, CLASSES)().parameters()]
    assert shapes[0] == (1024, WIDTH)
    assert (512, 128) in shapes
    assert (512, 192) in [
        tuple(p.shape) for p in MembershipNetwork(WIDTH, CLASSES, vectors=2)().parameters()
    ]
