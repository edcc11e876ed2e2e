"""Training losses: named losses per example, or a defense's own loss of a whole batch."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from selena.training.forward import Forward

LossName = Literal["cross_entropy", "mse", "binary_cross_entropy"]


@runtime_checkable
class Loss(Protocol):
    """A defense's own loss, which sees the whole batch, the network and the epoch.

    It is a frozen dataclass of its hyperparameters with this method, set as `Recipe.loss`:

        def __call__(self, network, x, target, *, epoch): ...

    `network(x)` gives logits with gradients. The call returns one number, the loss of the batch;
    `selena.defenses.relaxloss` is an example. The loss may draw from PyTorch's global generators,
    which the engine seeds each epoch. So networks with such a loss are trained one at a time.
    """

    def __call__(
        self,
        network: Forward,
        x: Float[Tensor, "b *features"],
        target: Shaped[Tensor, "b *target"],
        *,
        epoch: int,
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch, a scalar with gradients.

        Args:
            network: the forward pass: inputs (b x features) to logits (b x c), float32.
            x: inputs, float32 or bfloat16, on the network's device.
            target: labels (b, int64), or whatever `targets` the defense gave.
            epoch: number of the epoch, from 0.
        """


def per_example_loss(
    output: Float[Tensor, "*batch c"], target: Shaped[Tensor, "*target"], loss: LossName
) -> Float[Tensor, "*batch"]:
    """Return one loss per example.

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
