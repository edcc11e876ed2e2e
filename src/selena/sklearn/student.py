"""Which student learns the soft labels where none is named.

Trees that vote, in forests and boosting, give a record its own soft label back and any other record
a mean of several. On twelve real tables they leaked more as their own students than a network did,
and were less accurate; single trees, neighbors and linear models did not leak more
(`results/students.json`). So a network takes the place of trees that vote.
"""

from __future__ import annotations

from typing import Any

from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline

from selena.errors import DataError
from selena.models.containers import contain
from selena.sklearn.network import TorchClassifier
from selena.sklearn.records import is_plain

_VOTING = (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
_PACKAGES = ("catboost", "lightgbm", "xgboost")


def usual_student(base: Any, X: Any = None) -> Any:
    """Return what learns the soft labels of `base`: a network in the place of trees that vote.

    Steps of a pipeline before the trees stay. Missing values, which some trees take, are replaced
    by the column's mean.

    Args:
        base: the estimator, or a pipeline.
        X: the records, or None where they are not known yet. Trees that read words by themselves
            stay their own students.
    """
    before, last = (
        (base.steps[:-1], base.steps[-1][1]) if isinstance(base, Pipeline) else ([], base)
    )
    votes = isinstance(last, _VOTING) or type(last).__module__.partition(".")[0] in _PACKAGES
    if not votes or not (before or _are_numbers(X)):
        return base
    imputer = SimpleImputer(keep_empty_features=True)
    return Pipeline([*before, ("missing_values", imputer), ("network", TorchClassifier())])


def _are_numbers(X: Any) -> bool:
    if X is None or is_plain(X):
        return True
    try:
        contain(X, "X").numbers()
    except DataError:
        return False
    return True
