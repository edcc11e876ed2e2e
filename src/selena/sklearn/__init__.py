"""SELENA for scikit-learn: membership privacy around any classifier with `predict_proba`."""

from selena.sklearn.distilled import SelenaClassifier
from selena.sklearn.memguard import MemGuardClassifier
from selena.sklearn.network import TorchClassifier
from selena.sklearn.split import SplitAIClassifier

__all__ = ["MemGuardClassifier", "SelenaClassifier", "SplitAIClassifier", "TorchClassifier"]
