"""Filters that reveal less of each prediction: only the label, or only the k likeliest classes.

Shokri et al., "Membership Inference Attacks Against Machine Learning Models", S&P 2017,
Section VIII ("Restrict the prediction vector").
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn.functional import one_hot

from selena.defenses.filtered import FilteredModel
from selena.defenses.ranking import keep_argmax, sort_ascending, unsort
from selena.errors import ConfigError
from selena.training.checkpoint import select
from selena.types import Defense, Records
from selena.workspace import Workspace


@dataclass(frozen=True)
class TopK:
    """Fits any defense, and reveals only the probabilities of the k likeliest classes.

    Attributes:
        base: what trains the target model.
        k: number of classes that keep their probability; the rest is spread evenly over the
            other classes. 0 gives only the label, with probability 1.
    """

    base: Defense
    k: int = 3

    def __post_init__(self) -> None:
        if self.k < 0:
            raise ConfigError(f"k is {self.k}; it must be at least 0.")

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> TopKModel:
        """Fit the target model."""
        workspace = workspace or Workspace()
        target = self.base.fit(train, validation, seed=seed, workspace=workspace)
        return TopKModel(target, self.k)

    def restore(self, state: dict[str, Tensor]) -> TopKModel:
        """Rebuild the target model from its `state`."""
        return TopKModel(self.base.restore(select(state, "target")), self.k)


@dataclass(frozen=True, eq=False)
class TopKModel(FilteredModel):
    """A target model behind the filter.

    Attributes:
        k: see `TopK`.
    """

    k: int

    def logits(self, x: Shaped[Tensor, "n *features"]) -> Float[Tensor, "n c"]:
        """Return the logarithms of the filtered probabilities; -inf for 0."""
        logits = self.target.logits(x)
        if self.k == 0:
            return one_hot(logits.argmax(dim=1), self.num_classes).float().log()
        if self.k >= self.num_classes:
            return logits
        z, order = sort_ascending(logits.double())
        p = z.softmax(dim=1)
        others = self.num_classes - self.k
        p[:, :others] = p[:, :others].mean(dim=1, keepdim=True)
        return keep_argmax(unsort(p, order).log().float(), order[:, -1])
