"""Dropout and weight decay: the plain means against overfitting, as defenses.

Dropout: Srivastava et al., JMLR 2014, as a defense in Salem et al., NDSS 2019, Section VI-A.
Weight decay: Shokri et al., S&P 2017, Section VIII ("Regularization").
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace

from torch import Tensor, nn

from selena.defenses.single import fit_single
from selena.errors import ConfigError
from selena.networks import NetworkFactory
from selena.training.model import NetworkModel, restore_network
from selena.training.recipe import Recipe
from selena.types import Records
from selena.workspace import Workspace


@dataclass(frozen=True)
class WithDropout:
    """Any network, with dropout before each linear layer but one that takes the features.

    Attributes:
        network: builds the network.
        rate: share of the inputs that a linear layer loses at each training step.
    """

    network: NetworkFactory
    rate: float

    def __call__(self) -> nn.Module:
        """Build the network; its weights are those that `network` draws.

        Raises:
            ConfigError: the network has no linear layer.
        """
        network = self.network()
        linears = [(name, m) for name, m in network.named_modules() if isinstance(m, nn.Linear)]
        if not linears or linears[0][0] == "":
            raise ConfigError("Dropout goes before linear layers inside a network; it has none.")
        # With several, the first takes the features; a lone one stands behind convolutions.
        for name, linear in linears[1:] or linears:
            network.set_submodule(name, nn.Sequential(nn.Dropout(self.rate), linear))
        return network


@dataclass(frozen=True)
class DropoutL2:
    """Ordinary training with dropout and weight decay.

    Attributes:
        network: builds the classifier.
        num_classes: number of classes.
        recipe: how it is trained.
        dropout: share of a layer's inputs that are dropped, in [0, 1).
        weight_decay: added to the recipe's own, >= 0.
    """

    network: NetworkFactory
    num_classes: int
    recipe: Recipe
    _: KW_ONLY
    dropout: float = 0.5
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1 or not self.weight_decay >= 0:
            raise ConfigError(
                f"dropout lies in [0, 1) and weight_decay is at least 0; got {self.dropout} and "
                f"{self.weight_decay}."
            )

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> NetworkModel:
        """Train on all of `train`."""
        decay = self.recipe.weight_decay + self.weight_decay
        return fit_single(
            WithDropout(self.network, self.dropout),
            self.num_classes,
            replace(self.recipe, weight_decay=decay),
            train,
            validation,
            name="dropout-l2",
            seed=seed,
            workspace=workspace,
        )

    def restore(self, state: dict[str, Tensor]) -> NetworkModel:
        """Rebuild the model from its `state`."""
        return restore_network(WithDropout(self.network, self.dropout), self.num_classes, state)
