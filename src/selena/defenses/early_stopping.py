"""Early stopping: ordinary training that ends before the model memorizes its members.

Compared with SELENA in Tang et al. 2022, Figure 4; as a defense in Song & Mittal 2021.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar

from selena.defenses.single import SingleNetwork
from selena.errors import ConfigError
from selena.training.recipe import Recipe
from selena.types import Records


@dataclass(frozen=True)
class EarlyStopping(SingleNetwork):
    """Stops after some epochs; the model equals `Undefended` with the same seed at that epoch.

    Attributes:
        epoch: number of epochs, 1 to `recipe.epochs`; None takes the epoch with the best accuracy
            on validation records.
    """

    name: ClassVar[str] = "early-stopping"
    _: KW_ONLY
    epoch: int | None = None

    def __post_init__(self) -> None:
        if self.epoch is not None and not 1 <= self.epoch <= self.recipe.epochs:
            raise ConfigError(
                f"epoch is {self.epoch}; the undefended run has epochs 1 to {self.recipe.epochs}."
            )

    def training_recipe(self, train: Records, validation: Records) -> Recipe:
        """Return the recipe of the undefended model, up to the chosen epoch."""
        if self.epoch is None:
            return replace(self.recipe, selection="validation")
        return replace(self.recipe, selection="last", epochs=self.epoch)
