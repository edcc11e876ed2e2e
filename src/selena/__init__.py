"""Train classifiers with membership privacy, attack them, report what leaks."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from selena.version import __version__

if TYPE_CHECKING:
    from selena.attacks.neural import NeuralAttack
    from selena.attacks.reference_model import ReferenceModelAttack
    from selena.attacks.threshold import ThresholdAttack
    from selena.auditing.predictions import Predictions, read_predictions
    from selena.auditing.report import AuditReport
    from selena.auditing.run import run_audit
    from selena.data import audit_split, load
    from selena.data.canaries import plant_canaries
    from selena.defenses.selena import Selena
    from selena.defenses.split_ai import SplitAI
    from selena.defenses.undefended import Undefended
    from selena.models import audit
    from selena.networks.mlp import MLP
    from selena.reports.comparison import compare
    from selena.sklearn import (
        EstimatorTraining,
        MemGuardClassifier,
        SelenaClassifier,
        SplitAIClassifier,
        TorchClassifier,
    )
    from selena.training.recipe import Recipe
    from selena.types import AuditSplit, Dataset, MembershipSets, Records
    from selena.workspace import Workspace

# Names are imported when they are first used: `import selena` costs nothing, and the command line
# can settle how threads wait before PyTorch starts any.
_HOME = {
    "AuditReport": "auditing.report",
    "AuditSplit": "types",
    "Dataset": "types",
    "EstimatorTraining": "sklearn",
    "MembershipSets": "types",
    "MLP": "networks.mlp",
    "MemGuardClassifier": "sklearn",
    "NeuralAttack": "attacks.neural",
    "Predictions": "auditing.predictions",
    "Recipe": "training.recipe",
    "Records": "types",
    "ReferenceModelAttack": "attacks.reference_model",
    "Selena": "defenses.selena",
    "SelenaClassifier": "sklearn",
    "SplitAI": "defenses.split_ai",
    "SplitAIClassifier": "sklearn",
    "ThresholdAttack": "attacks.threshold",
    "TorchClassifier": "sklearn",
    "Undefended": "defenses.undefended",
    "Workspace": "workspace",
    "audit": "models",
    "audit_split": "data",
    "compare": "reports.comparison",
    "load": "data",
    "plant_canaries": "data.canaries",
    "read_predictions": "auditing.predictions",
    "run_audit": "auditing.run",
}

__all__ = [
    "MLP",
    "AuditReport",
    "AuditSplit",
    "Dataset",
    "EstimatorTraining",
    "MemGuardClassifier",
    "MembershipSets",
    "NeuralAttack",
    "Predictions",
    "Recipe",
    "Records",
    "ReferenceModelAttack",
    "Selena",
    "SelenaClassifier",
    "SplitAI",
    "SplitAIClassifier",
    "ThresholdAttack",
    "TorchClassifier",
    "Undefended",
    "Workspace",
    "__version__",
    "audit",
    "audit_split",
    "compare",
    "load",
    "plant_canaries",
    "read_predictions",
    "run_audit",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'selena' has no attribute {name!r}")
    return getattr(import_module(f"selena.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    # Those not imported yet too: shells complete names by it.
    return __all__
