"""Float32 products of matrices where PyTorch's own leave a part of the processor unused.

PyTorch multiplies float32 matrices by MKL, which on AMD's processors uses half the width of
AVX-512; oneDNN, which it brings along, uses all of it. So there linear layers train at twice the
rate when oneDNN multiplies for them, forth and back; sums differ in their last bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from selena.processor import mkl_is_slow
from selena.training.linear_stack import filled, linear


@contextmanager
def fast_products(networks: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
    """Let the linear layers of networks on `device` compute with the fastest float32 products.

    The block holds forward and backward passes (a layer may compute again in the latter). Gradients
    of a second order are refused in it.
    """
    layers: set[nn.Linear] = set()
    if device.type == "cpu" and mkl_is_slow():
        modules = (module for network in networks for module in network.modules())
        layers = {m for m in modules if type(m) is nn.Linear and "forward" not in vars(m)}
    for layer in layers:
        vars(layer)["forward"] = partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["forward"]


def _forward(layer: nn.Linear, x: Float[Tensor, "*b m"]) -> Float[Tensor, "*b n"]:
    plain = torch.is_autocast_enabled("cpu") or torch._C._are_functorch_transforms_active()
    bias: Tensor | None = layer.bias
    tensors = (x, layer.weight) if bias is None else (x, layer.weight, bias)
    if plain or x.dim() < 2 or any(t.dtype != torch.float32 for t in tensors):
        return functional.linear(x, layer.weight, bias)
    apply: Callable[..., Tensor] = _Linear.apply
    return apply(x.flatten(0, -2), layer.weight, bias).view(*x.shape[:-1], -1)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Float[Tensor, "b m"], weight: Float[Tensor, "n m"], bias: Tensor | None
    ) -> Float[Tensor, "b n"]:
        # Of rows that are parts of longer ones, the gradient of the weights took a second.
        inputs = filled(x).contiguous()
        ctx.save_for_backward(inputs, weight)
        return linear(inputs, weight, bias, "none")[: len(x)]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Float[Tensor, "b n"]) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        filled_up = filled(gradient).contiguous()
        return (
            linear(filled_up, weight.t(), None, "none")[: len(gradient)] if of_x else None,
            linear(filled_up.t(), inputs.t(), None, "none") if of_weight else None,
            gradient.sum(0) if of_bias else None,
        )
