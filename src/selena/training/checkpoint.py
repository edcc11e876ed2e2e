"""Networks and optimizers as named tensors, and back."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from selena.training.optimizer import Optimizer

Part = nn.Module | Optimizer


def pack(parts: Mapping[str, Part]) -> dict[str, Tensor]:
    """Return the state of all `parts`, each tensor's name beginning with its part's."""
    return {
        f"{part}/{name}": tensor
        for part, value in parts.items()
        for name, tensor in value.state_dict().items()
    }


def unpack(tensors: Mapping[str, Tensor], parts: Mapping[str, Part]) -> None:
    """Give `parts` the state that `pack` returned."""
    for part, value in parts.items():
        value.load_state_dict(select(tensors, part))


def select(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """Return the tensors of one part, named as the part itself names them."""
    return {
        name.removeprefix(f"{part}/"): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{part}/")
    }
