"""scikit-learn's own checks of an estimator, all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from selena.sklearn import MemGuardClassifier, SelenaClassifier, SplitAIClassifier, TorchClassifier

# To the last digit: the check of weights compares two fits to seven digits.
EXACT = LogisticRegression(solver="newton-cholesky", tol=1e-12)
TINY = TorchClassifier((8,), epochs=10, batch_size=16, learning_rate=0.1)


def expected_failures(estimator: Any) -> dict[str, str]:
    # As for scikit-learn's own MLPClassifier and SGDClassifier.
    reason = "a record given twice falls into other minibatches than one of weight two"
    if isinstance(estimator, TorchClassifier | MemGuardClassifier):  # the defender's network does
        kinds = ("dense_data", "sparse_data")
        return {f"check_sample_weight_equivalence_on_{kind}": reason for kind in kinds}
    return {}


# Checks pass wrong types on purpose; type checks would answer before the estimator does.
@pytest.mark.deep
@pytest.mark.usefixtures("unchecked", "short_walks")
@pytest.mark.filterwarnings("ignore:X looks as if:selena.errors.AuditWarning")  # scaled by checks
@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [
        SelenaClassifier(EXACT, n_submodels=3, n_nonmodels=1),
        SplitAIClassifier(EXACT, n_submodels=3, n_nonmodels=1),
        MemGuardClassifier(EXACT, epochs=2),
        TINY,
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_check(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)
