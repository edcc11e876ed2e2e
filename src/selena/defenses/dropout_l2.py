"""Dropout and weight decay: the usual regularizers as defenses.

Dropout: Srivastava et al., JMLR 2014, as a defense in Salem et al., NDSS 2019, Section VI-A.
Weight decay: Shokri et al., S&P 2017, Section VIII ("Regularization").
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar

from torch import nn

from selena.defenses.single import SingleNetwork
from selena.errors import ConfigError
from selena.networks import NetworkFactory
from selena.training.recipe import Recipe
from selena.types import Records


@dataclass(frozen=True)
class WithDropout:
    """Any network, with dropout before each linear layer except one that takes the features.

    Attributes:
        network: builds the network.
        rate: share of a linear layer's inputs that are dropped at each training step.
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
            raise ConfigError("Dropout needs linear layers inside of the network; there are none.")
        # The first of several layers takes the features; a single one follows convolutions.
        for name, linear in linears[1:] or linears:
            network.set_submodule(name, nn.Sequential(nn.Dropout(self.rate), linear))
        return network


@dataclass(frozen=True)
class DropoutL2(SingleNetwork):
    """Ordinary training with dropout and weight decay.

    Attributes:
        dropout: share of a layer's inputs that are dropped, in [0, 1).
        weight_decay: added to the recipe's own, >= 0.
    """

    name: ClassVar[str] = "dropout-l2"
    _: KW_ONLY
    dropout: float = 0.5
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1 or not self.weight_decay >= 0:
            raise ConfigError(
                f"dropout lies in [0, 1) and weight_decay is at least 0; got {self.dropout} and "
                f"{self.weight_decay}."
            )

    def training_recipe(self, train: Records, validation: Records) -> Recipe:
        """Return the recipe with more weight decay."""
        return replace(self.recipe, weight_decay=self.recipe.weight_decay + self.weight_decay)

    def architecture(self) -> NetworkFactory:
        """Return the network with dropout."""
        return WithDropout(self.network, self.dropout)
