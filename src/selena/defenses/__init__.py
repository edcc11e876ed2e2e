"""Defenses: one file per paper, each a frozen dataclass of hyperparameters with `fit`.

The class of a defense has its registry name in CamelCase. Positional arguments are the network, the
number of classes and recipes, or the defense that it wraps; hyperparameters are keywords.
`SingleNetwork`, `OwnLoop` and `FilteredModel` are bases for defenses of your own.
"""

from selena.defenses.adversarial_regularization import AdversarialRegularization
from selena.defenses.convex_concave_loss import ConvexConcaveLoss
from selena.defenses.distillation import Distillation
from selena.defenses.dmp import DMP
from selena.defenses.dp_sgd import DPSGD
from selena.defenses.dropout_l2 import DropoutL2
from selena.defenses.dyna_noise import DynaNoise
from selena.defenses.early_stopping import EarlyStopping
from selena.defenses.filtered import FilteredModel
from selena.defenses.hamp import HAMP
from selena.defenses.label_smoothing import LabelSmoothing
from selena.defenses.memguard import MemGuard
from selena.defenses.memguard_noise import NoiseSearch
from selena.defenses.mist import MIST
from selena.defenses.mixup_mmd import MixupMMD
from selena.defenses.output_filters import TopK
from selena.defenses.pate import PATE
from selena.defenses.relaxloss import RelaxLoss
from selena.defenses.selena import Selena
from selena.defenses.single import SingleNetwork
from selena.defenses.split_ai import SplitAI
from selena.defenses.undefended import Undefended
from selena.training.own_loop import OwnLoop

__all__ = [
    "DMP",
    "DPSGD",
    "HAMP",
    "MIST",
    "PATE",
    "AdversarialRegularization",
    "ConvexConcaveLoss",
    "Distillation",
    "DropoutL2",
    "DynaNoise",
    "EarlyStopping",
    "FilteredModel",
    "LabelSmoothing",
    "MemGuard",
    "MixupMMD",
    "NoiseSearch",
    "OwnLoop",
    "RelaxLoss",
    "Selena",
    "SingleNetwork",
    "SplitAI",
    "TopK",
    "Undefended",
]
