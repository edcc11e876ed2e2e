"""MemGuard's inference network for the noise search: its gradient, and the range where it is valid.

A network with ReLUs is piecewise linear: its gradient changes only where a unit opens or closes. A
walk of small steps rarely leaves a linear piece, so most steps need no forward or backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

_TINY = 1e-30


@dataclass(frozen=True, eq=False)
class Pieces:
    """Linear pieces of the network around m points in the space of probabilities.

    Attributes:
        point: the probabilities.
        score: the network's logit h at the point.
        pull: the gradient of |h|, up to a constant in each row (probabilities sum to 1).
        reach: within this L2 distance of the point, the gradient and the sign of h are constant.
    """

    point: Float[Tensor, "m c"]
    score: Float[Tensor, " m"]
    pull: Float[Tensor, "m c"]
    reach: Float[Tensor, " m"]

    def take(self, rows: Bool[Tensor, " m"] | Int[Tensor, " r"]) -> Pieces:
        """Return a copy of some rows."""
        return Pieces(self.point[rows], self.score[rows], self.pull[rows], self.reach[rows])

    def put(self, rows: Int[Tensor, " r"], pieces: Pieces) -> None:
        """Overwrite some rows."""
        self.point.index_copy_(0, rows, pieces.point)
        self.score.index_copy_(0, rows, pieces.score)
        self.pull.index_copy_(0, rows, pieces.pull)
        self.reach.index_copy_(0, rows, pieces.reach)

    def left_by(self, p: Float[Tensor, "m c"], scratch: Float[Tensor, "m c"]) -> Int[Tensor, " r"]:
        """Return the rows whose `p` is beyond `reach` of the point; `scratch` is overwritten."""
        distance = torch.linalg.vector_norm(torch.sub(p, self.point, out=scratch), dim=1)
        return torch.nonzero(~(distance < self.reach)).squeeze(1)


class InferenceNetwork:
    """Linear layers with ReLU between them and one output, as a function of probabilities.

    It computes in float32, as it was trained. Units that are closed at every distribution are left
    out; weight decay makes many of them.

    Attributes:
        weights: weights of each layer (outputs x inputs), without the closed units.
    """

    def __init__(self, network: nn.Module) -> None:
        """Take the weights of `network`, such as an `MLP`'s."""
        linears = [m for m in network.cpu().modules() if isinstance(m, nn.Linear)]
        weights = [m.weight.detach().double() for m in linears]
        biases = [m.bias.detach().double() for m in linears]
        _drop_closed(weights, biases)
        # Without their mean, weights give the same values on distributions and shorter gradients.
        mean = weights[0].mean(dim=1)
        weights[0], biases[0] = weights[0] - mean[:, None], biases[0] + mean
        self._distances = [each.float() for each in _distances_per_value(weights)]
        self.weights = [weight.float() for weight in weights]
        self._transposed = [weight.T.contiguous() for weight in self.weights]
        self._biases = [bias.float() for bias in biases]

    def pieces(self, p: Float[Tensor, "m c"]) -> Pieces:
        """Return the linear pieces around `p` (float64; each row is a distribution)."""
        value, opened, reaches = p.float(), [], []
        layers = list(zip(self._transposed, self._biases, self._distances, strict=True))
        for weight, bias, distance in layers[:-1]:
            value = torch.addmm(bias, value, weight)
            # Distance to the nearest point where any unit can open or close.
            reaches.append(value.abs().mul_(distance).amin(dim=1))
            opened.append(value.relu_())
        weight, bias, distance = layers[-1]
        score = torch.addmm(bias, value, weight)
        reaches.append((score.abs() * distance).squeeze(1))
        pull = score.sign() * self.weights[-1]
        for weight, value in zip(self.weights[-2::-1], reversed(opened), strict=True):
            # The gradient of a ReLU is 0 where it is closed.
            pull = torch.ops.aten.threshold_backward(pull, value, 0) @ weight
        reach = torch.stack(reaches).amin(dim=0)
        return Pieces(p, score.squeeze(1).double(), pull.double(), reach.double())


def _drop_closed(weights: list[Tensor], biases: list[Tensor]) -> None:
    """Leave out, in place, the units that are closed at every distribution.

    Smallest and largest values come from interval arithmetic. They are exact in the first layer,
    where a linear function of a distribution is extreme if one class has probability 1.
    """
    least, most = biases[0] + weights[0].amin(dim=1), biases[0] + weights[0].amax(dim=1)
    for layer in range(len(weights) - 1):
        stays = most > 0
        stays[most.argmax()] = True  # at least one, because empty layers need special cases
        weights[layer], biases[layer] = weights[layer][stays], biases[layer][stays]
        weights[layer + 1] = weights[layer + 1][:, stays]
        low, high = least[stays].clamp_min(0), most[stays].clamp_min(0)
        up, down = weights[layer + 1].clamp_min(0), weights[layer + 1].clamp_max(0)
        bias = biases[layer + 1]
        least, most = bias + up @ low + down @ high, bias + up @ high + down @ low


def _distances_per_value(weights: list[Tensor]) -> list[Tensor]:
    """Return for each unit a lower bound on the distance of p over which its value changes by 1.

    It is 1 / (norm of the unit's weights times the spectral norms of the layers before); a ReLU
    does not increase distances.
    """
    distances, steepest = [], 1.0
    for weight in weights:
        distances.append(1 / (steepest * weight.norm(dim=1)).clamp_min(_TINY))
        steepest *= float(torch.linalg.matrix_norm(weight, ord=2))
    return distances
