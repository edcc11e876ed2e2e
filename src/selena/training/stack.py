"""K networks of one architecture that compute side by side.

`Stacked` keeps the weights of several networks in one tensor per layer, so that a step is one
batched matrix product per layer instead of K small ones. Each network's parameters are views into
the stack, so an ordinary optimizer can update each network by itself. `Sequential` runs each
network by itself; on a GPU one multiplies while another waits for memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from selena.seeding import seeded
from selena.training.forward import Forward, forward_in

Tensors = dict[str, Tensor]


@runtime_checkable
class NetworkStates(Protocol):
    """Networks that answer one batch each."""

    def forward(
        self, x: Float[Tensor, "g b *features"], states: slice
    ) -> Float[Tensor, "g b *out"]:
        """Return the output of each network in `states` for its own batch."""
        ...

    def collect_gradients(self, states: Sequence[int]) -> None:
        """After a backward pass, give the parameters of these networks their gradients."""
        ...


class Sequential:
    """Networks that compute one at a time; any `nn.Module` works."""

    def __init__(self, networks: Sequence[Forward]) -> None:
        self._networks = list(networks)

    def forward(
        self, x: Float[Tensor, "1 b *features"], states: slice
    ) -> Float[Tensor, "1 b *out"]:
        """Return the output of the one network in `states`."""
        output: Tensor = self._networks[states.start](x[0])
        return output[None]

    def collect_gradients(self, states: Sequence[int]) -> None:
        """Do nothing: the parameters already hold their gradients."""


class Stacked:
    """Several networks as one stack of weights and of running statistics."""

    def __init__(self, networks: Sequence[nn.Module], dtype: torch.dtype) -> None:
        """Stack the networks' weights; they compute in `dtype`."""
        self._networks = list(networks)
        self._dtype = dtype
        self._base = deepcopy(networks[0]).to("meta")
        for module in self._base.modules():
            if next(module.buffers(recurse=False), None) is not None:
                module.register_forward_pre_hook(_in_float32)
        self._weights, self._statistics = stack_module_state(self._networks)
        self._parameters = {
            name: [network.get_parameter(name) for network in networks] for name in self._weights
        }
        for name, parameters in self._parameters.items():
            for parameter, weights in zip(parameters, self._weights[name].data, strict=True):
                parameter.data = weights
        for state, network in enumerate(networks):
            for name, buffer in network.named_buffers():
                buffer.data = self._statistics[name][state]

    def forward(
        self, x: Float[Tensor, "g b *features"], states: slice
    ) -> Float[Tensor, "g b *out"]:
        """Return the output of each network in `states` for its own batch."""

        def one(weights: Tensors, statistics: Tensors, batch: Tensor) -> Tensor:
            output: Tensor = functional_call(self._base, (weights, statistics), (batch,))
            return output

        weights, statistics = self._weights, self._statistics
        if states != slice(0, len(self._networks)):
            # Slices are views: gradients and new statistics arrive in the stack.
            weights, statistics = (
                {name: tensor[states] for name, tensor in stack.items()}
                for stack in (weights, statistics)
            )
        stack = partial(vmap(one), weights, statistics)
        return forward_in(self._dtype, stack, x.device)(x)

    def collect_gradients(self, states: Sequence[int]) -> None:
        """Make these networks' gradients views into the stack's, and reset the stack's."""
        for name, weights in self._weights.items():
            gradient, weights.grad = weights.grad, None
            if gradient is not None:
                parts = gradient.unbind()
                for state in states:
                    self._parameters[name][state].grad = parts[state]


def _in_float32(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return inputs in float32 for a module with statistics, which cannot stack in bf16."""
    return tuple(x.float() if isinstance(x, Tensor) else x for x in inputs)


def keeps_statistics(network: nn.Module) -> bool:
    """Return whether `network` keeps statistics of its batches (batch normalisation)."""
    return next(network.buffers(), None) is not None


def convolves(network: nn.Module) -> bool:
    """Return whether `network` has convolutions, which are slower stacked than one at a time."""
    return any(isinstance(module, nn.modules.conv._ConvNd) for module in network.modules())


def why_not_stackable(network: nn.Module, x: Float[Tensor, "b *features"]) -> str | None:
    """Return why networks like this one must train one at a time, or None if they can stack.

    Stacked networks share one stream of random numbers, so a network that draws (dropout) would not
    compute as it does alone. Other reasons are found by trying a stack on `x`.
    """
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            return f"{type(module).__name__} draws random numbers"
    if len({p.dtype for p in network.parameters()}) != 1:
        return "its parameters have different types"
    if convolves(network):
        return None  # they compute beside each other, each as it is
    try:
        with seeded(0, "trial"):
            stack = Stacked([deepcopy(network), deepcopy(network)], torch.float32)
            stack.forward(torch.stack([x, x]), slice(0, 2))
    except Exception as error:
        return f"a stack of them cannot compute ({str(error).partition('. ')[0]})"
    return None
