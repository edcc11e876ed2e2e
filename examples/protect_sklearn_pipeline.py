"""Protect a scikit-learn classifier in five lines, and measure what that is worth.

Real records: 1,797 handwritten digits (UCI), which come with scikit-learn. Half of them train a
model, bare and protected; both are attacked by the confidence of their answers.

Run: python examples/protect_sklearn_pipeline.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import selena


def attack_accuracy(model: Any, X: Any, y: Any, member: Any) -> str:
    """Return the balanced accuracy of the best direct attack, and its 95 % interval.

    The attacker fits thresholds on the half of the records whose membership is known to them, and
    is scored on the other half; 50 % is a random guess.
    """
    known = np.random.default_rng(0).random(len(y)) < 0.5
    predictions = selena.Predictions(model.predict_proba(X).astype(float), y, member, known)
    attacks = [selena.ThresholdAttack(s) for s in ("correctness", "confidence", "modified_entropy")]
    report = selena.run_audit(predictions, predictions.split(), attacks, seed=0)
    best = report.best("direct").figures.summary
    low, high = best.balanced_accuracy_interval
    return f"{best.balanced_accuracy:.1%} ({low:.1%} to {high:.1%})"


def main() -> None:
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=0
    )

    # The five lines. Any classifier, or pipeline, goes inside; a network distils it smoothly.
    bare = make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=40))
    student = selena.TorchClassifier(epochs=50)
    protected = selena.SelenaClassifier(bare, 10, 3, student=student, random_state=0)
    bare.fit(X_train, y_train)
    protected.fit(X_train, y_train)

    X_all, y_all = np.concatenate([X_train, X_test]), np.concatenate([y_train, y_test])
    member = np.arange(len(y_all)) < len(y_train)
    for name, model in (("bare", bare), ("protected", protected)):
        accuracy = model.score(X_test, y_test)
        attack = attack_accuracy(model, X_all, y_all, member)
        print(f"{name:>9}: accuracy on new records {accuracy:.1%}, best attack {attack}")


if __name__ == "__main__":
    main()
