"""Membership inference attacks: each learns from known records and returns a scorer.

Every attack is called SomethingAttack, in CamelCase what the registry calls it. It takes by
position what it is built around (a signal, a defense); numbers are keywords. The functions called
something_scores work on confidences of reference models that somebody has, and train nothing.
"""

from selena.attacks.adaptive import ShadowDistanceAttack, ShadowNeuralAttack
from selena.attacks.augmentation import AugmentationAttack
from selena.attacks.boundary import BoundaryDistanceAttack
from selena.attacks.flip_noise import FlipNoiseAttack
from selena.attacks.gaussian_noise import GaussianNoiseAttack
from selena.attacks.hopskipjump import HopSkipJumpAttack
from selena.attacks.indirect import IndirectQueryAttack
from selena.attacks.neural import NeuralAttack
from selena.attacks.quantile import QuantileAttack
from selena.attacks.reference_model import ReferenceModelAttack
from selena.attacks.reference_scores import (
    base_scores,
    bavaria_scores,
    lira_scores,
    rmia_scores,
)
from selena.attacks.threshold import ThresholdAttack

__all__ = [
    "AugmentationAttack",
    "BoundaryDistanceAttack",
    "FlipNoiseAttack",
    "GaussianNoiseAttack",
    "HopSkipJumpAttack",
    "IndirectQueryAttack",
    "NeuralAttack",
    "QuantileAttack",
    "ReferenceModelAttack",
    "ShadowDistanceAttack",
    "ShadowNeuralAttack",
    "ThresholdAttack",
    "base_scores",
    "bavaria_scores",
    "lira_scores",
    "rmia_scores",
]
