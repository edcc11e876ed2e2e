"""Base classes of models with changed answers: `FilteredModel` keeps the labels.

If labels stay the same, label-only attacks and accuracies ask the model behind the filter. In one
workspace, an audit of the filtered model then reuses these scores from an audit of that model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from selena.types import StoredModel


@dataclass(frozen=True, eq=False)
class ChangedModel(ABC):
    """A target model with changed answers; subclasses add `logits`, and settings as fields.

    Attributes:
        target: the model.
    """

    target: StoredModel

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.target.num_classes

    @abstractmethod
    def logits(self, x: Shaped[Tensor, "n *features"]) -> Float[Tensor, "n c"]:
        """Return the changed logits or log-probabilities."""

    def state(self) -> dict[str, Tensor]:
        """Return the target's state as `target/...`, and each setting by its name.

        Settings are numbers or tensors; they distinguish filters of one target.
        """
        tensors = {f"target/{name}": tensor for name, tensor in self.target.state().items()}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "target":
                dtype = torch.float64 if isinstance(value, float) else None
                tensors[field.name] = torch.as_tensor(value, dtype=dtype)
        return tensors


@dataclass(frozen=True, eq=False)
class FilteredModel(ChangedModel):
    """A target model behind a filter that keeps the predicted labels."""

    @property
    def labels_of(self) -> StoredModel:
        """The target model, which predicts the same labels."""
        return self.target
