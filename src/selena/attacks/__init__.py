"""Membership inference attacks: each learns from known records and returns a scorer.

The class of an attack is its registry name in CamelCase plus "Attack". The positional argument is
the main part (a signal, a defense); numbers are keywords. Functions called something_scores train
nothing; they compute scores from given arrays, mostly confidences of reference models.
"""

from selena.attacks.adaptive import ShadowDistanceAttack, ShadowNeuralAttack
from selena.attacks.attribute import attribute_scores
from selena.attacks.augmentation import AugmentationAttack
from selena.attacks.boundary import BoundaryDistanceAttack
from selena.attacks.flip_noise import FlipNoiseAttack
from selena.attacks.gaussian_noise import GaussianNoiseAttack
from selena.attacks.hopskipjump import HopSkipJumpAttack
from selena.attacks.indirect import IndirectQueryAttack
from selena.attacks.loss_trajectory import lt_iqr_scores
from selena.attacks.neural import NeuralAttack
from selena.attacks.one_query import OneQueryAttack
from selena.attacks.parrot import ParrotAttack
from selena.attacks.quantile import QuantileAttack
from selena.attacks.reference_copies import Copies
from selena.attacks.reference_matrix import ReferenceMatrix
from selena.attacks.reference_model import ReferenceMatrixAttack, ReferenceModelAttack
from selena.attacks.reference_scores import (
    base_scores,
    bavaria_scores,
    empirical_bayes_scores,
    lira_scores,
    rmia_scores,
)
from selena.attacks.reference_training import train_reference_matrix
from selena.attacks.reference_turns import scores_in_turn
from selena.attacks.signal_attack import SignalAttack, ThresholdAttack
from selena.attacks.yoqo import YOQOAttack

__all__ = [
    "AugmentationAttack",
    "BoundaryDistanceAttack",
    "Copies",
    "FlipNoiseAttack",
    "GaussianNoiseAttack",
    "HopSkipJumpAttack",
    "IndirectQueryAttack",
    "NeuralAttack",
    "OneQueryAttack",
    "ParrotAttack",
    "QuantileAttack",
    "ReferenceMatrix",
    "ReferenceMatrixAttack",
    "ReferenceModelAttack",
    "ShadowDistanceAttack",
    "ShadowNeuralAttack",
    "SignalAttack",
    "ThresholdAttack",
    "YOQOAttack",
    "attribute_scores",
    "base_scores",
    "bavaria_scores",
    "empirical_bayes_scores",
    "lira_scores",
    "lt_iqr_scores",
    "rmia_scores",
    "scores_in_turn",
    "train_reference_matrix",
]
