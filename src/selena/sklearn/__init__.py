"""SELENA for scikit-learn: membership privacy around any classifier with `predict_proba`."""

from selena.sklearn.distilled import SelenaClassifier
from selena.sklearn.memguard import MemGuardClassifier
from selena.sklearn.network import TorchClassifier
from selena.sklearn.scoring import AuditableClassifier, PrivacyLimit, make_leakage_scorer
from selena.sklearn.split import SplitAIClassifier
from selena.sklearn.training import EstimatorTraining

__all__ = [
    "AuditableClassifier",
    "EstimatorTraining",
    "MemGuardClassifier",
    "PrivacyLimit",
    "SelenaClassifier",
    "SplitAIClassifier",
    "TorchClassifier",
    "make_leakage_scorer",
]
