"""A network's forward pass, in the precision that the recipe asks for.

Plain stacks of linear layers are computed by PyTorch's fused kernels for processors. One kernel
multiplies, adds the bias and applies the activation before it rounds, so that the activation costs
next to nothing. Predictions use it in float32, training in bf16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from selena.environment.processor import has_fused_kernels

# PyTorch keeps one kernel per number of rows, some megabytes per network. So batches are padded
# with zeros to a multiple of this.
_ROWS = 64

_ACTIVATIONS: dict[type[nn.Module], str] = {nn.Tanh: "tanh", nn.ReLU: "relu"}
Forward = Callable[[Tensor], Tensor]
"""The network in training: inputs (b x features) to float32 outputs (b x c), with gradients."""

Layer = tuple[nn.Linear, str]
"""A linear layer and the name of its activation: "tanh", "relu" or "none"."""


def linear_stack(network: nn.Module) -> list[Layer] | None:
    """Return the layers of a plain stack of linear layers and activations, or None.

    A plain stack has no layers of other types (subclasses count as other types), no hooks, and
    only float32 parameters.
    """
    if type(network) is not nn.Sequential or _hooked(network):
        return None
    stack: list[Layer] = []
    for layer in network:
        if type(layer) is nn.Linear and layer.weight.dtype == torch.float32:
            stack.append((layer, "none"))
        elif type(layer) in _ACTIVATIONS and stack and stack[-1][1] == "none":
            stack[-1] = (stack[-1][0], _ACTIVATIONS[type(layer)])
        elif type(layer) is not nn.Flatten or stack:
            return None
        if _hooked(layer):
            return None
    return stack or None


def _hooked(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def linear(
    x: Float[Tensor, "b m"], weight: Float[Tensor, "n m"], bias: Tensor | None, activation: str
) -> Float[Tensor, "b n"]:
    """Return activation(x W^T + bias) in the precision of the arguments; it has no gradients."""
    if _may_fuse(x):
        output: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], "")
        return output
    return activate(functional.linear(x, weight, bias), activation)


def activate(x: Float[Tensor, "b n"], activation: str) -> Float[Tensor, "b n"]:
    """Return activation(x); it has no gradients."""
    if activation == "relu":
        return torch.relu(x)
    if activation == "none":
        return x
    if x.dtype == torch.bfloat16 and _may_fuse(x):
        # oneDNN's tanh takes less than half the time of PyTorch's, both copies included.
        return torch.tanh(x.to_mkldnn()).to_dense()
    if x.dtype == torch.float32 and x.device.type == "cpu":
        return _quick_tanh(x)
    return torch.tanh(x)


def _quick_tanh(x: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """Return tanh(x) = 2 sigmoid(2 x) - 1, to 2e-7.

    With AVX2 PyTorch's sigmoid takes a quarter of the time of its tanh; this function takes half.
    """
    output = (x + x).sigmoid_()
    output += output
    output -= 1
    return output


def _may_fuse(x: Tensor) -> bool:
    known = x.dtype in (torch.float32, torch.bfloat16)
    return known and x.device.type == "cpu" and has_fused_kernels()


def answers(stack: Sequence[Layer], x: Float[Tensor, "b *features"]) -> Float[Tensor, "b out"]:
    """Return the outputs of a stack in float32, without gradients."""
    hidden = filled(x.flatten(1))
    for layer, activation in stack:
        hidden = linear(hidden, layer.weight, layer.bias, activation)
    return hidden[: len(x)]


def filled(x: Float[Tensor, "b m"]) -> Float[Tensor, "c m"]:
    """Return `x` padded with rows of zeros to a number of rows that kernels are kept for."""
    missing = -len(x) % _ROWS
    return functional.pad(x, (0, 0, 0, missing)) if missing else x


def fused_outputs(
    stack: Sequence[Layer], x: Float[Tensor, "b *features"]
) -> Float[Tensor, "b out"]:
    """Return the outputs of a stack in training, computed in bf16 from its float32 weights.

    Gradients reach the weights (in float32) and `x`; second-order gradients are not supported.
    """
    activations = [activation for _, activation in stack]
    parameters = [parameter for layer, _ in stack for parameter in (layer.weight, layer.bias)]
    apply: Callable[..., Tensor] = _FusedStack.apply
    return apply(x.flatten(1), activations, *parameters)


class _FusedStack(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, activations: Sequence[str], *parameters: Tensor | None
    ) -> Tensor:
        inputs, weights = [filled(x.to(torch.bfloat16))], []
        layers = zip(parameters[::2], parameters[1::2], activations, strict=True)
        # Each layer is rounded just before it is used, so that it is still in the cache.
        for weight, bias, activation in layers:
            assert weight is not None
            weights.append(weight.to(torch.bfloat16))
            rounded = bias if bias is None else bias.to(torch.bfloat16)
            inputs.append(linear(inputs[-1], weights[-1], rounded, activation))
        ctx.save_for_backward(*inputs, *weights)
        ctx.activations, ctx.dtype, ctx.rows = activations, x.dtype, len(x)
        ctx.has_bias = [bias is not None for bias in parameters[1::2]]
        return inputs[-1][: len(x)].float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        depth = len(ctx.activations)
        outputs, weights = ctx.saved_tensors[: depth + 1], ctx.saved_tensors[depth + 1 :]
        of_parameters: list[Tensor | None] = []
        gradient = filled(gradient.to(torch.bfloat16))
        for i in reversed(range(depth)):
            gradient = _through(ctx.activations[i], gradient, outputs[i + 1])
            of_weight = torch.mm(gradient.t(), outputs[i]).float()
            # The sum is computed in float32 and rounded once, as the products are. With a float32
            # result PyTorch would first copy the whole gradient.
            of_bias = gradient.sum(0).float() if ctx.has_bias[i] else None
            of_parameters[:0] = of_weight, of_bias
            if i or ctx.needs_input_grad[0]:
                gradient = torch.mm(gradient, weights[i])
        of_x = gradient[: ctx.rows].to(ctx.dtype) if ctx.needs_input_grad[0] else None
        return of_x, None, *of_parameters


def _through(activation: str, gradient: Tensor, output: Tensor) -> Tensor:
    """Return the gradient of an activation's input, given its output and the output's gradient."""
    if activation == "none":
        return gradient
    if activation == "relu":
        return gradient * (output > 0)
    of_input: Tensor = torch.ops.aten.tanh_backward(gradient, output)
    return of_input


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
