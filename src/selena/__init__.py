"""Train classifiers with membership privacy, attack them, report what leaks.

Names follow rules: attacks end in "Attack", scikit-learn estimators in "Classifier", defenses have
the names of their papers, and functions are verbs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from selena.auditing.presenter import present_by
from selena.environment.version import __version__

present_by("selena.reports.audit_report")

if TYPE_CHECKING:
    from selena.attacks import (
        AugmentationAttack,
        BoundaryDistanceAttack,
        FlipNoiseAttack,
        GaussianNoiseAttack,
        HopSkipJumpAttack,
        IndirectQueryAttack,
        NeuralAttack,
        OneQueryAttack,
        ParrotAttack,
        QuantileAttack,
        ReferenceMatrix,
        ReferenceMatrixAttack,
        ReferenceModelAttack,
        ShadowDistanceAttack,
        ShadowNeuralAttack,
        ThresholdAttack,
        YOQOAttack,
        train_reference_matrix,
    )
    from selena.auditing.predictions import Predictions, read_predictions
    from selena.auditing.report import AuditReport
    from selena.auditing.run import run_audit
    from selena.data import Partition, audit_split, load
    from selena.data.canaries import plant_canaries
    from selena.defenses import (
        DMP,
        DPSGD,
        HAMP,
        MIST,
        PATE,
        AdversarialRegularization,
        ConvexConcaveLoss,
        Distillation,
        DropoutL2,
        DynaNoise,
        EarlyStopping,
        LabelSmoothing,
        MemGuard,
        MixupMMD,
        RelaxLoss,
        Selena,
        SplitAI,
        TopK,
        Undefended,
    )
    from selena.errors import (
        AccessError,
        AuditWarning,
        ClusterError,
        ConfigError,
        DataError,
        SelenaError,
        StoreError,
        TrainingError,
    )
    from selena.models import (
        AttributeReport,
        StoredRecords,
        audit,
        audit_multilabel,
        audit_regression,
        find_stored_records,
        infer_attribute,
        read_records,
    )
    from selena.networks.mlp import MLP
    from selena.networks.resnet import ResNet
    from selena.reports.comparison import Comparison, compare
    from selena.reports.release.document import write_release_report
    from selena.reports.release.model_card import model_card_section
    from selena.sklearn import (
        AuditableClassifier,
        EstimatorTraining,
        MemGuardClassifier,
        PrivacyLimit,
        SelenaClassifier,
        SplitAIClassifier,
        TorchClassifier,
        make_leakage_scorer,
    )
    from selena.training.loss_trace import LossTrace
    from selena.training.recipe import Recipe
    from selena.types import AuditSplit, Dataset, MembershipSets, Records
    from selena.workspace import Workspace

# Names are imported when they are first used, so `import selena` is fast, and the command line can
# set how idle threads wait before PyTorch starts any.
_HOME = {
    "AccessError": "errors",
    "AdversarialRegularization": "defenses",
    "AttributeReport": "models",
    "AuditReport": "auditing.report",
    "AuditSplit": "types",
    "AuditWarning": "errors",
    "AuditableClassifier": "sklearn",
    "AugmentationAttack": "attacks",
    "BoundaryDistanceAttack": "attacks",
    "ClusterError": "errors",
    "Comparison": "reports.comparison",
    "ConfigError": "errors",
    "ConvexConcaveLoss": "defenses",
    "DMP": "defenses",
    "DPSGD": "defenses",
    "DataError": "errors",
    "Dataset": "types",
    "Distillation": "defenses",
    "DropoutL2": "defenses",
    "DynaNoise": "defenses",
    "EarlyStopping": "defenses",
    "EstimatorTraining": "sklearn",
    "FlipNoiseAttack": "attacks",
    "GaussianNoiseAttack": "attacks",
    "HAMP": "defenses",
    "HopSkipJumpAttack": "attacks",
    "IndirectQueryAttack": "attacks",
    "LabelSmoothing": "defenses",
    "MIST": "defenses",
    "LossTrace": "training.loss_trace",
    "MLP": "networks.mlp",
    "MemGuard": "defenses",
    "MemGuardClassifier": "sklearn",
    "MembershipSets": "types",
    "MixupMMD": "defenses",
    "NeuralAttack": "attacks",
    "PATE": "defenses",
    "OneQueryAttack": "attacks",
    "ParrotAttack": "attacks",
    "Partition": "data",
    "Predictions": "auditing.predictions",
    "PrivacyLimit": "sklearn",
    "QuantileAttack": "attacks",
    "Recipe": "training.recipe",
    "Records": "types",
    "ReferenceMatrix": "attacks",
    "ReferenceMatrixAttack": "attacks",
    "ReferenceModelAttack": "attacks",
    "RelaxLoss": "defenses",
    "ResNet": "networks.resnet",
    "Selena": "defenses",
    "SelenaClassifier": "sklearn",
    "SelenaError": "errors",
    "ShadowDistanceAttack": "attacks",
    "ShadowNeuralAttack": "attacks",
    "SplitAI": "defenses",
    "SplitAIClassifier": "sklearn",
    "StoreError": "errors",
    "StoredRecords": "models",
    "ThresholdAttack": "attacks",
    "YOQOAttack": "attacks",
    "TopK": "defenses",
    "TorchClassifier": "sklearn",
    "TrainingError": "errors",
    "Undefended": "defenses",
    "Workspace": "workspace",
    "audit": "models",
    "audit_multilabel": "models",
    "audit_regression": "models",
    "audit_split": "data",
    "compare": "reports.comparison",
    "find_stored_records": "models",
    "infer_attribute": "models",
    "load": "data",
    "make_leakage_scorer": "sklearn",
    "model_card_section": "reports.release.model_card",
    "plant_canaries": "data.canaries",
    "read_predictions": "auditing.predictions",
    "read_records": "models",
    "run_audit": "auditing.run",
    "train_reference_matrix": "attacks",
    "write_release_report": "reports.release.document",
}

__all__ = [
    "DMP",
    "DPSGD",
    "HAMP",
    "MIST",
    "MLP",
    "PATE",
    "AccessError",
    "AdversarialRegularization",
    "AttributeReport",
    "AuditReport",
    "AuditSplit",
    "AuditWarning",
    "AuditableClassifier",
    "AugmentationAttack",
    "BoundaryDistanceAttack",
    "ClusterError",
    "Comparison",
    "ConfigError",
    "ConvexConcaveLoss",
    "DataError",
    "Dataset",
    "Distillation",
    "DropoutL2",
    "DynaNoise",
    "EarlyStopping",
    "EstimatorTraining",
    "FlipNoiseAttack",
    "GaussianNoiseAttack",
    "HopSkipJumpAttack",
    "IndirectQueryAttack",
    "LabelSmoothing",
    "LossTrace",
    "MemGuard",
    "MemGuardClassifier",
    "MembershipSets",
    "MixupMMD",
    "NeuralAttack",
    "OneQueryAttack",
    "ParrotAttack",
    "Partition",
    "Predictions",
    "PrivacyLimit",
    "QuantileAttack",
    "Recipe",
    "Records",
    "ReferenceMatrix",
    "ReferenceMatrixAttack",
    "ReferenceModelAttack",
    "RelaxLoss",
    "ResNet",
    "Selena",
    "SelenaClassifier",
    "SelenaError",
    "ShadowDistanceAttack",
    "ShadowNeuralAttack",
    "SplitAI",
    "SplitAIClassifier",
    "StoreError",
    "StoredRecords",
    "ThresholdAttack",
    "TopK",
    "TorchClassifier",
    "TrainingError",
    "Undefended",
    "Workspace",
    "YOQOAttack",
    "__version__",
    "audit",
    "audit_multilabel",
    "audit_regression",
    "audit_split",
    "compare",
    "find_stored_records",
    "infer_attribute",
    "load",
    "make_leakage_scorer",
    "model_card_section",
    "plant_canaries",
    "read_predictions",
    "read_records",
    "run_audit",
    "train_reference_matrix",
    "write_release_report",
]


_PACKAGES = ("attacks", "defenses", "metrics", "tracking", "types")


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"selena.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'selena' has no attribute {name!r}")
    return getattr(import_module(f"selena.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    # Including names that are not imported yet, since shells use this list for completion.
    return [*__all__, *_PACKAGES]
