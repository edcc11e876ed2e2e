"""Base class of the classifiers in this package."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped
from sklearn.base import BaseEstimator, ClassifierMixin

Probabilities = Float64[np.ndarray, "n c"]


class ProbabilityClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A scikit-learn classifier that predicts the most probable label.

    Attributes:
        classes_: the c labels, sorted; set by `fit`.
    """

    classes_: Shaped[np.ndarray, " c"]

    def predict_proba(self, X: Any) -> Probabilities:
        """Return the probability of each class for each query; rows sum to 1.

        Args:
            X: n x d features.
        """
        raise NotImplementedError

    def predict(self, X: Any) -> Shaped[np.ndarray, " n"]:
        """Return the most probable label of each query.

        Args:
            X: n x d features.
        """
        proba = self.predict_proba(X)
        labels: Shaped[np.ndarray, " n"] = self.classes_[proba.argmax(axis=1)]
        return labels
