"""A network's forward pass in training, in the precision that the recipe asks for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from selena.environment.processor import has_fused_kernels
from selena.training.linear_stack import fused_outputs, linear_stack

Forward = Callable[[Tensor], Tensor]
"""The network in training: inputs (b x features) to float32 outputs (b x c), with gradients."""


def forward_in(
    dtype: torch.dtype,
    network: nn.Module | Forward,
    device: torch.device,
    *,
    higher_order: bool = False,
) -> Forward:
    """Return the function that computes `network` in `dtype` from its float32 weights.

    Args:
        dtype: float32 or bfloat16.
        network: a network, or a function that computes several.
        device: where its weights are.
        higher_order: whether gradients of gradients are needed; fused kernels do not offer them.
    """
    if dtype == torch.float32:
        return network
    if isinstance(network, nn.Module) and device.type == "cpu" and not higher_order:
        stack = linear_stack(network)
        if stack is not None and has_fused_kernels():
            return partial(fused_outputs, stack)
    return partial(_autocast, network, device.type)


def _autocast(network: Forward, device: str, x: Tensor) -> Tensor:
    with torch.autocast(device, torch.bfloat16):
        return network(x).float()
