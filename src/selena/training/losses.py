"""What training minimises: named losses of one example, or a defense's own of a whole batch."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from selena.training.forward import Forward

LossName = Literal["cross_entropy", "mse", "binary_cross_entropy"]


@runtime_checkable
class Loss(Protocol):
    """A loss that sees the whole batch, the network or the epoch: one frozen dataclass a paper.

    It may draw from PyTorch's global generators, which the engine seeds each epoch; networks
    that minimise it are therefore trained one at a time.
    """

    def __call__(
        self,
        network: Forward,
        x: Float[Tensor, "b *features"],
        target: Shaped[Tensor, "b *target"],
        *,
        epoch: int,
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch in `epoch` (from 0), a scalar with gradients."""
        ...


def per_example_loss(
    output: Float[Tensor, "*batch c"], target: Shaped[Tensor, "*target"], loss: LossName
) -> Float[Tensor, "*batch"]:
    """Return one loss an example.

    "cross_entropy" takes class numbers or rows of probabilities (then -sum p log q, the
    distillation loss of the paper, Section 4.2); "mse" compares one output with one number, and
    "binary_cross_entropy" one logit with a probability.
    """
    if loss == "mse":
        return (output.squeeze(-1) - target) ** 2
    if loss == "binary_cross_entropy":
        return F.binary_cross_entropy_with_logits(output.squeeze(-1), target, reduction="none")
    if target.is_floating_point():
        return -(target * F.log_softmax(output, dim=-1)).sum(dim=-1)
    flat = F.cross_entropy(output.flatten(0, -2), target.flatten(), reduction="none")
    return flat.view_as(target)
