"""Networks and optimizers as named tensors, and back."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from selena.training.optimizer import Optimizer

Part = nn.Module | Optimizer


def pack(parts: Mapping[str, Part]) -> dict[str, Tensor]:
    """Return the tensors of all `parts`; each name begins with the name of its part."""
    return {
        f"{part}/{name}": tensor
        for part, value in parts.items()
        for name, tensor in value.state_dict().items()
    }


def unpack(tensors: Mapping[str, Tensor], parts: Mapping[str, Part]) -> None:
    """Load the state that `pack` returned into `parts`."""
    for part, value in parts.items():
        value.load_state_dict(select(tensors, part))


def select(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """Return the tensors of one part, without the part's name in front."""
    return {
        name.removeprefix(f"{part}/"): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{part}/")
    }
