"""The training of a scikit-learn classifier, for attacks that repeat it (reference models)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from sklearn.base import clone
from torch import Tensor

from selena.errors import DataError
from selena.sklearn.checks import check_estimator
from selena.sklearn.fitting import aligned_proba, fit_hard
from selena.types import Records
from selena.workspace import Workspace


@dataclass(frozen=True, eq=False)
class EstimatorTraining:
    """Fits copies of an estimator, for a `ReferenceModelAttack` on such an estimator.

    Attributes:
        estimator: any classifier with `predict_proba`; it is kept as an unfitted copy.
    """

    estimator: Any

    def __post_init__(self) -> None:
        check_estimator(self.estimator, "estimator")
        # Unfitted, so that it has only its parameters, which reports describe.
        object.__setattr__(self, "estimator", clone(self.estimator))

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> FittedEstimator:
        """Fit a copy on `train`, with its subjects if the estimator's `fit` takes them."""
        with _explained(f"when fitted on {len(train)} records"):
            fitted = fit_hard(
                self.estimator,
                _features(train.x),
                train.y.numpy(),
                None,
                seed=seed,
                classes=np.arange(int(train.y.max()) + 1),
                subjects=None if train.subjects is None else train.subjects.numpy(),
            )
        return FittedEstimator(fitted, int(train.y.max()) + 1)


@dataclass(frozen=True, eq=False)
class FittedEstimator:
    """A fitted estimator as a target model.

    Attributes:
        fitted: the estimator that answers.
        num_classes: number of classes, up to the last that it saw; others have probability 0.
    """

    fitted: Any
    num_classes: int

    def __repr__(self) -> str:
        return f"FittedEstimator({type(self.fitted).__name__}, {self.num_classes:,} classes)"

    def logits(self, x: Shaped[Tensor, "n *features"]) -> Float[Tensor, "n c"]:
        """Return logarithms of probabilities, float64; -inf for a probability of 0."""
        with _explained(f"when asked about {len(x)} records"):
            proba = aligned_proba(self.fitted, _features(x), np.arange(self.num_classes))
        return torch.from_numpy(proba).log()


def _features(x: Shaped[Tensor, "n *features"]) -> np.ndarray:
    """Return features in a type that estimators expect: bytes would overflow."""
    numbers = x.numpy()
    return numbers.astype(np.float64) if numbers.dtype == np.uint8 else numbers


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a user's estimator may raise anything
        raise DataError(
            f"A copy of the estimator failed as a reference model {what} ({type(error).__name__}: "
            f"{error}). Copies get dense arrays, halves of the records, and labels from 0 on. Give "
            "an estimator that takes these, or a training of your own (docs/audit.md)."
        ) from error
