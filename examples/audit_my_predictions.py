"""Does my model leak? All that this needs are its answers on records it was trained on, and others.

The model may stand anywhere: here a random forest of scikit-learn answers, and what it says is
written into a file as a training pipeline would. The file is audited from Python, and could as well
be by a pipeline:

    selena audit --predictions predictions.npz --fail-if 'advantage>0.10' --junit gate.xml

Run: python examples/audit_my_predictions.py
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

import selena


def main() -> None:
    X, y = load_breast_cancer(return_X_y=True)  # 569 tumors, 30 measurements each
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=0
    )
    model = RandomForestClassifier(random_state=0).fit(X_train, y_train)

    labels = np.concatenate([y_train, y_test])  # numbers of columns of the probabilities
    np.savez(
        "predictions.npz",
        probabilities=model.predict_proba(np.concatenate([X_train, X_test])),
        labels=labels,
        member=np.arange(len(labels)) < len(y_train),
        known=np.random.default_rng(0).random(len(labels)) < 0.5,  # what the attacker may fit on
    )

    attacks = ("correctness", "confidence", "entropy")
    # Some 140 records per side are scored: enough for a false-positive rate of 10 %.
    report = selena.audit("predictions.npz", attacks=attacks, fpr=0.1)
    print(report)
    page = selena.compare({"random forest": report}, data="breast cancer").write_page("audit.html")
    print("Written:", page)


if __name__ == "__main__":
    main()
