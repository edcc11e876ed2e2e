"""DynaNoise: noise on the logits, more of it where the model is more confident.

Forough & Haddadi, "Dynamic Probabilistic Noise Injection for Membership Inference Defense",
PoPETs 2026 (arXiv 2505.13362), Section 4. In the paper the noise is new at each call. Here it is
drawn by a keyed hash of the query, so that repeated queries cannot average it out.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field

from jaxtyping import Float, Shaped
from torch import Tensor

from selena.content.keyed import normals_by_content
from selena.defenses.filtered import ChangedModel
from selena.errors import ConfigError, StoreError
from selena.seeding import child_seed
from selena.training.checkpoint import select
from selena.types import Defense, Records
from selena.workspace import Workspace


@dataclass(frozen=True)
class DynaNoise:
    """Fits any defense and adds noise to its logits; more confident answers get more noise.

    The variance is base_variance * (1 + sensitivity * (1 - H / log c)), H the entropy of the
    prediction. Noise may change the predicted label.

    Attributes:
        base: what trains the target model.
        base_variance: variance of the noise for a uniform prediction, >= 0.
        sensitivity: lambda, >= 0; a prediction of probability 1 gets 1 + lambda times as much.
        temperature: the noisy logits are divided by it, > 0.
    """

    base: Defense
    _: KW_ONLY
    base_variance: float = 0.3
    sensitivity: float = 2.0
    temperature: float = 10.0

    def __post_init__(self) -> None:
        if not (self.base_variance >= 0 and self.sensitivity >= 0 and self.temperature > 0):
            raise ConfigError(
                "DynaNoise needs base_variance >= 0, sensitivity >= 0 and temperature > 0; got "
                f"{self.base_variance}, {self.sensitivity}, {self.temperature}."
            )

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> DynaNoiseModel:
        """Fit the target model, and draw the key of the noise."""
        workspace = workspace or Workspace()
        target = self.base.fit(train, validation, seed=seed, workspace=workspace)
        settings = (self.base_variance, self.sensitivity, self.temperature)
        return DynaNoiseModel(target, *settings, child_seed(seed, "dyna-noise key"))

    def restore(self, state: dict[str, Tensor]) -> DynaNoiseModel:
        """Rebuild the model from its `state`."""
        if "key" not in state:
            raise StoreError(f"This is not the state of DynaNoise: it holds {sorted(state)[:5]}.")
        target = self.base.restore(select(state, "target"))
        settings = (self.base_variance, self.sensitivity, self.temperature)
        return DynaNoiseModel(target, *settings, int(state["key"]))


@dataclass(frozen=True, eq=False)
class DynaNoiseModel(ChangedModel):
    """A target model whose logits are noisy.

    Attributes:
        base_variance: see `DynaNoise`.
        sensitivity: see `DynaNoise`.
        temperature: see `DynaNoise`.
        key: key of the hash that draws the noise of a query.
    """

    base_variance: float
    sensitivity: float
    temperature: float
    key: int = field(repr=False)

    def logits(self, x: Shaped[Tensor, "n *features"]) -> Float[Tensor, "n c"]:
        """Return the noisy logits, divided by the temperature."""
        logits = self.target.logits(x).double()
        log_p = logits.log_softmax(dim=1)
        entropy = -(log_p.exp() * log_p.clamp_min(-1e9)).sum(dim=1, keepdim=True)
        certainty = 1 - entropy / math.log(max(self.num_classes, 2))
        sd = (self.base_variance * (1 + self.sensitivity * certainty)).sqrt()
        noise = normals_by_content(x, self.key, self.num_classes)
        return ((logits + sd * noise) / self.temperature).float()
