"""The network that tells members from non-members by a prediction and a label.

Nasr, Shokri, Houmansadr 2018: the attack network, and the adversary of their defense.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class MembershipNetwork:
    """Builds the attack network: `towers`, whose output ranks, and a sigmoid for the loss.

    Attributes:
        observed: width of an observed vector; the number of classes for a prediction.
        num_classes: number of classes, the width of the one-hot label.
        vectors: number of observed vectors; each has its own tower.
    """

    observed: int
    num_classes: int
    vectors: int = 1

    def __call__(self) -> nn.Sequential:
        """Build a network; weights are drawn from N(0, 0.01²), biases are 0."""
        network = nn.Sequential(
            _Towers(self.observed, self.num_classes, self.vectors), nn.Sigmoid()
        )
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif not parameter.is_meta:  # for meta tensors PyTorch would load its compiler (slow)
                nn.init.normal_(parameter, std=0.01)
        return network


class _Towers(nn.Module):
    """Towers on (..., vectors x observed + classes): one per vector, one-hot label, all joined."""

    def __init__(self, observed: int, num_classes: int, vectors: int) -> None:
        super().__init__()
        self._widths = [*[observed] * vectors, num_classes]
        self.observations = nn.ModuleList(_tower(observed, 1024, 512, 64) for _ in range(vectors))
        self.label = _tower(num_classes, 128, 64)
        width = 64 * (vectors + 1)
        self.joined = nn.Sequential(*_tower(width, 512, 256, 128, 64), nn.Linear(64, 1))

    def forward(self, x: Tensor) -> Tensor:
        *observed, label = torch.split(x, self._widths, dim=-1)
        towers = [*self.observations, self.label]
        seen = [tower(part) for tower, part in zip(towers, [*observed, label], strict=True)]
        output: Tensor = self.joined(torch.cat(seen, dim=-1))
        return output


def _tower(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(len(widths) - 1):
        layers += [nn.Linear(widths[i], widths[i + 1]), nn.ReLU()]
    return nn.Sequential(*layers)
