"""Networks and optimizers as named tensors, and back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

Part = nn.Module | torch.optim.Optimizer


def pack(parts: Mapping[str, Part]) -> dict[str, Tensor]:
    """Return the state of all `parts`, each tensor's name beginning with its part's."""
    tensors: dict[str, Tensor] = {}
    for part, value in parts.items():
        if isinstance(value, nn.Module):
            named = value.state_dict()
        else:
            named = {
                f"{index}.{name}": tensor
                for index, state in value.state_dict()["state"].items()
                for name, tensor in state.items()
                if tensor is not None
            }
        tensors |= {f"{part}/{name}": tensor for name, tensor in named.items()}
    return tensors


def unpack(tensors: Mapping[str, Tensor], parts: Mapping[str, Part]) -> None:
    """Give `parts` the state that `pack` returned; an optimizer keeps its own settings."""
    for part, value in parts.items():
        named = select(tensors, part)
        if isinstance(value, nn.Module):
            value.load_state_dict(named)
            continue
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in named.items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = tensor
        groups = value.state_dict()["param_groups"]
        value.load_state_dict({"state": state, "param_groups": groups})


def select(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """Return the tensors of one part, named as the part itself names them."""
    return {
        name.removeprefix(f"{part}/"): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{part}/")
    }
