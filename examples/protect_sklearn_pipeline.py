"""Protect a scikit-learn pipeline in five lines, and see what that gains and costs.

Real records: 1,797 handwritten digits (UCI), which come with scikit-learn. Half of them train
gradient boosting, bare and protected; then both are attacked.

Run: python examples/protect_sklearn_pipeline.py
"""

from __future__ import annotations

from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import selena


def main() -> None:
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=0
    )

    # The five lines. Any classifier, or pipeline, goes inside; a network distils it smoothly.
    bare = make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=40))
    student = selena.TorchClassifier(epochs=50)
    protected = selena.SelenaClassifier(
        bare, n_submodels=5, n_nonmodels=2, student=student, random_state=0
    )
    bare.fit(X_train, y_train)
    protected.fit(X_train, y_train)

    attacks = ("correctness", "confidence", "modified_entropy")
    members, others = (X_train, y_train), (X_test, y_test)
    # 449 records per side are scored: enough for a false-positive rate of 5 %.
    fpr = 0.05
    comparison = selena.compare(
        {
            "bare": selena.audit(bare, members, others, attacks=attacks, fpr=fpr),
            "protected": selena.audit(protected, members, others, attacks=attacks, fpr=fpr),
        },
        data="digits",
    )
    print(comparison)
    print("Written:", comparison.write_page("protected.html"))


if __name__ == "__main__":
    main()
