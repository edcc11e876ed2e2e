"""Label smoothing: a share of the label's probability is spread over all classes.

Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, Section 7.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import one_hot

from selena.defenses.single import SingleNetwork
from selena.errors import ConfigError
from selena.types import Records


@dataclass(frozen=True)
class LabelSmoothing(SingleNetwork):
    """Cross-entropy against (1 - s) times the one-hot label plus s / c for every class.

    Attributes:
        smoothing: s, in [0, 1).
    """

    name: ClassVar[str] = "label-smoothing"
    _: KW_ONLY
    smoothing: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise ConfigError(f"smoothing is {self.smoothing}; it lies in [0, 1).")

    def targets(self, train: Records) -> Float[Tensor, "n c"]:
        """Return the smoothed labels."""
        labels = one_hot(train.y, self.num_classes).float()
        return labels * (1 - self.smoothing) + self.smoothing / self.num_classes
