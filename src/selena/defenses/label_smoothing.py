"""Label smoothing: the label's probability is lowered, and shared among all classes.

Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, Section 7.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from torch import Tensor
from torch.nn.functional import one_hot

from selena.checks import check_records
from selena.defenses.single import fit_single
from selena.errors import ConfigError
from selena.networks import NetworkFactory
from selena.training.model import NetworkModel, restore_network
from selena.training.recipe import Recipe
from selena.types import Records
from selena.workspace import Workspace


@dataclass(frozen=True)
class LabelSmoothing:
    """Trains against (1 - s) times the one-hot label plus s / c for each of the c classes.

    Attributes:
        network: builds the classifier.
        num_classes: number of classes, c.
        recipe: how it is trained.
        smoothing: s, in [0, 1).
    """

    network: NetworkFactory
    num_classes: int
    recipe: Recipe
    _: KW_ONLY
    smoothing: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise ConfigError(f"smoothing is {self.smoothing}; it lies in [0, 1).")

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> NetworkModel:
        """Train on the smoothed labels of `train`."""
        check_records(train, num_classes=self.num_classes, what="training records")
        labels = one_hot(train.y, self.num_classes).float()
        return fit_single(
            self.network,
            self.num_classes,
            self.recipe,
            train,
            validation,
            name="label-smoothing",
            seed=seed,
            targets=labels * (1 - self.smoothing) + self.smoothing / self.num_classes,
            workspace=workspace,
        )

    def restore(self, state: dict[str, Tensor]) -> NetworkModel:
        """Rebuild the model from its `state`."""
        return restore_network(self.network, self.num_classes, state)
