"""Adam and SGD for networks that train side by side: one call of fused kernels per step.

PyTorch's classes wrap the same kernels, with two disadvantages. The first object of a class imports
PyTorch's compiler, which takes seconds per process. And one object per network starts the kernels
once per network, which for small networks takes longer than the computation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from selena.training.recipe import Recipe

_BETAS, _EPSILON = (0.9, 0.999), 1e-8


class Optimizer:
    """An optimizer of one network: its parameters and what it remembers of them."""

    def __init__(self, parameters: Iterable[Tensor], recipe: Recipe) -> None:
        """Start with an empty state; the parameters must not move in memory from now on."""
        self.recipe = recipe
        self.parameters = list(parameters)
        self.state = [_nothing(parameter, recipe) for parameter in self.parameters]

    def step(self, rate: float | Tensor) -> None:
        """Apply the gradients that the parameters hold, and drop them."""
        step_optimizers([self], rate)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the optimizer's state, with names `index.name`."""
        return {
            f"{index}.{name}": tensor
            for index, entry in enumerate(self.state)
            for name, tensor in entry.items()
        }

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `state_dict` returned."""
        for name, tensor in self.state_dict().items():
            tensor.copy_(tensors[name])


def step_optimizers(optimizers: Sequence[Optimizer], rate: float | Tensor) -> None:
    """Take one step with several optimizers of one recipe, and drop the gradients.

    Args:
        optimizers: at least one.
        rate: the learning rate, a number or a scalar on the parameters' device (on a GPU float32).
    """
    parameters, gradients, state = [], [], []
    for optimizer in optimizers:
        for parameter, entry in zip(optimizer.parameters, optimizer.state, strict=True):
            if parameter.grad is not None:
                parameters.append(parameter)
                gradients.append(parameter.grad)
                state.append(entry)
                parameter.grad = None
    _apply(parameters, gradients, state, optimizers[0].recipe, rate)


def _nothing(parameter: Tensor, recipe: Recipe) -> dict[str, Tensor]:
    if recipe.optimizer == "adam":
        return {
            "step": torch.zeros((), device=parameter.device),
            "exp_avg": torch.zeros_like(parameter.data),
            "exp_avg_sq": torch.zeros_like(parameter.data),
        }
    return {"momentum_buffer": torch.zeros_like(parameter.data)} if recipe.momentum else {}


@torch.no_grad()
def _apply(
    parameters: list[Tensor],
    gradients: list[Tensor],
    state: Sequence[dict[str, Tensor]],
    recipe: Recipe,
    rate: float | Tensor,
) -> None:
    if recipe.optimizer == "adam":
        adam(
            parameters,
            gradients,
            [entry["exp_avg"] for entry in state],
            [entry["exp_avg_sq"] for entry in state],
            [],
            [entry["step"] for entry in state],
            fused=True,
            amsgrad=False,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            lr=rate,
            weight_decay=recipe.weight_decay,
            eps=_EPSILON,
            maximize=False,
        )
    else:
        sgd(
            parameters,
            gradients,
            [entry.get("momentum_buffer") for entry in state],
            fused=True,
            weight_decay=recipe.weight_decay,
            momentum=recipe.momentum,
            lr=rate,  # type: ignore[arg-type]  # its kernels take tensors too
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
