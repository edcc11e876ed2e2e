"""Chooses the default student that learns the soft labels.

Ensembles of trees (forests and boosting) return a training record's own soft label, but a mean of
several for any other record. On twelve real tables they leaked more than a network as the student,
and were less accurate; single trees, neighbors and linear models did not leak more
(`results/students.json`). So a network replaces ensembles of trees.
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
    """Return the default student for `base`: a network in place of ensembles of trees.

    Earlier steps of a pipeline stay. Missing values, which some trees accept, are replaced by the
    column's mean.

    Args:
        base: the estimator, or a pipeline.
        X: the records, or None if they are not known yet. For records of words, which some trees
            accept, a copy of the trees is the student.
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
