"""What the Adversarial Robustness Toolbox (ART) finds on the answers that this library audits.

    python -m benchmarks.art_comparison [--seeds 3] [--out FILE.json] [--page docs/interop.md]

Three tasks: one probability with 1 % positives, several labels per record, and a regressor. Both
sides get the same answers, the same known records to fit on, and the same other records to decide.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from sklearn.datasets import load_diabetes, make_classification, make_multilabel_classification
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.metrics import roc_auc_score

from benchmarks.page import how_made, renewed
from selena import AuditWarning, Predictions, audit, audit_multilabel, audit_regression
from selena.auditing.report import AuditReport
from selena.files.writing import write_json

Row = dict[str, Any]

LEARNERS = ("nn", "lr", "rf", "gb")
BEGIN, END = "<!-- art: python -m benchmarks.art_comparison -->", "<!-- / -->"
NAMES = {
    "nn": "network (its default)",
    "lr": "logistic regression",
    "rf": "random forest",
    "gb": "boosting",
    "rule": "a right answer is a member's",
    "loss": "its loss, by rank",
}


@dataclass(frozen=True)
class Task:
    """A model's answers, and whose they are.

    Attributes:
        name: of the task.
        answers: n x C probabilities, n x L of labels, or n numbers.
        truth: n classes, n x L labels, or n numbers.
        member: whether the model was trained on the record.
        known: whether an attack may fit on it.
        ours: the audit.
        signals: which attacks of ours are shown.
        positive: the records of the rare class, or None.
    """

    name: str
    answers: np.ndarray
    truth: np.ndarray
    member: np.ndarray
    known: np.ndarray
    ours: Callable[[Task], AuditReport]
    signals: tuple[str, ...]
    positive: np.ndarray | None = None

    @property
    def width(self) -> int:
        return 1 if self.answers.ndim == 1 else int(self.answers.shape[1])


def sides(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return who is a member, and who of them is known: half of each side."""
    order = np.random.default_rng(seed).permutation(n)
    return order % 2 == 0, order % 4 < 2


def binary(seed: int, n: int = 8000, trees: int = 50) -> Task:
    x, y = make_classification(
        n, 20, n_informative=8, weights=[0.99], flip_y=0, class_sep=0.5, random_state=seed
    )
    member, known = sides(n, seed)
    forest = RandomForestClassifier(trees, min_samples_leaf=2, random_state=seed)
    answers = forest.fit(x[member], y[member]).predict_proba(x)

    def ours(task: Task) -> AuditReport:
        of_positive = task.answers[:, 1]  # one probability per record
        return audit(Predictions(of_positive, task.truth, task.member, task.known))

    signals = ("correctness", "confidence", "modified_entropy", "neural")
    return Task("1 % positives", answers, y, member, known, ours, signals, y == 1)


def several_labels(seed: int, n: int = 3000, trees: int = 30) -> Task:
    x, y = make_multilabel_classification(n, 20, n_classes=5, n_labels=2, random_state=seed)
    member, known = sides(n, seed)
    forest = RandomForestClassifier(trees, min_samples_leaf=3, random_state=seed)
    of_each = forest.fit(x[member], y[member]).predict_proba(x)
    answers = np.column_stack([each[:, 1] for each in of_each])

    def ours(task: Task) -> AuditReport:
        return audit_multilabel(task.answers, task.truth, task.member, known=task.known)

    signals = ("correctness", "loss", "confidence", "modified_entropy", "learned")
    return Task("5 labels", answers, y, member, known, ours, signals)


def regression(seed: int, trees: int = 50) -> Task:
    x, y = load_diabetes(return_X_y=True)
    member, known = sides(len(x), seed)
    forest = RandomForestRegressor(trees, min_samples_leaf=3, random_state=seed)
    answers = forest.fit(x[member], y[member]).predict(x)

    def ours(task: Task) -> AuditReport:
        return audit_regression(task.answers, task.truth, task.member, known=task.known)

    return Task("regressor", answers, y, member, known, ours, ("absolute_error",))


TASKS = (binary, several_labels, regression)


def rows_of(task: Task) -> np.ndarray:
    """Return records as the toolbox sees them: each is the number of its row."""
    return np.arange(len(task.member), dtype=np.float32)[:, None]


def estimator(task: Task) -> Any:
    """Return the toolbox's estimator that gives the task's answers."""
    from art.estimators.classification import BlackBoxClassifier
    from art.estimators.regression.blackbox import BlackBoxRegressor

    def look_up(x: np.ndarray) -> np.ndarray:
        found: np.ndarray = task.answers[x[:, 0].astype(int)]
        return found

    if task.answers.ndim == 1:
        return BlackBoxRegressor(look_up, (1,))
    return BlackBoxClassifier(look_up, (1,), task.width)


def learned(task: Task, learner: str, seed: int) -> np.ndarray:
    """Return the probability of being a member that the toolbox learns, for each scored record."""
    from art.attacks.inference.membership_inference import MembershipInferenceBlackBox

    torch.manual_seed(seed)
    sees = "loss" if task.answers.ndim == 1 else "prediction"
    attack = MembershipInferenceBlackBox(
        estimator(task), input_type=sees, attack_model_type=learner
    )
    if learner != "nn":
        attack.attack_model.set_params(random_state=seed)
    x, y = rows_of(task), task.truth
    fit = [task.known & task.member, task.known & ~task.member]
    attack.fit(x[fit[0]], y[fit[0]], x[fit[1]], y[fit[1]])
    found: np.ndarray = attack.infer(x[~task.known], y[~task.known], probabilities=True)
    return found.ravel()


def by_rule(task: Task) -> np.ndarray:
    """Return the decisions of the toolbox's rule, that right answers are members', when scored."""
    from art.attacks.inference.membership_inference import MembershipInferenceBlackBoxRuleBased

    scored = ~task.known
    decided = MembershipInferenceBlackBoxRuleBased(estimator(task)).infer(
        rows_of(task)[scored], task.truth[scored]
    )
    found: np.ndarray = decided == 1
    return found


def squared_errors(task: Task) -> np.ndarray:
    """Return the toolbox's loss of a regressor on scored records."""
    scored = ~task.known
    found: np.ndarray = estimator(task).compute_loss(rows_of(task)[scored], task.truth[scored])
    return found


def our_scores(report: AuditReport, attack: str) -> np.ndarray:
    """Return an attack's scores of scored records, in the order of rows."""
    scored = report.attacks[attack].scores.evaluation
    found: np.ndarray = scored.scores[np.argsort(scored.ids)]
    return found


def figures(task: Task, scores: np.ndarray, decided: np.ndarray) -> Row:
    """Return what scores and decisions say about scored records."""
    scores = rankdata(scores)  # they may be infinite
    truth = task.member[~task.known]
    rates = decided[truth].mean(), 1 - decided[~truth].mean()
    found = {
        "auc": float(roc_auc_score(truth, scores)),
        "balanced_accuracy": float(np.mean(rates)),
    }
    if task.positive is not None:
        rare = task.positive[~task.known]
        found["auc_of_positives"] = float(roc_auc_score(truth[rare], scores[rare]))
    return found


def compared(task: Task, seed: int) -> list[Row]:
    """Return a row per attack of either side."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AuditWarning)
        report = task.ours(task)
    rows: list[Row] = []
    for attack in task.signals:
        scores = our_scores(report, attack)
        variant = report.attacks[attack].variants["global"]
        found = figures(task, scores, np.zeros(len(scores), bool))
        found["balanced_accuracy"] = variant.summary.balanced_accuracy
        assert abs(found["auc"] - variant.summary.auc) < 1e-9
        rows.append({"whose": "ours", "attack": attack} | found)
    for learner in LEARNERS:
        scores = learned(task, learner, seed)
        found = figures(task, scores, scores > 0.5)
        rows.append({"whose": "ART", "attack": learner} | found)
    if task.answers.ndim == 1:
        loss = -squared_errors(task)
        rows.append({"whose": "ART", "attack": "loss", "auc": figures(task, loss, loss > 0)["auc"]})
    else:
        decided = by_rule(task)
        right = our_scores(report, "correctness") == (1 if task.width == 2 else task.width)
        same = {"same_decisions": float(np.mean(decided == right))}
        rows.append(
            {"whose": "ART", "attack": "rule"}
            | figures(task, decided.astype(float), decided)
            | same
        )
    where = {"task": task.name, "seed": seed, "scored": int((~task.known).sum())}
    return [where | row for row in rows]


def table(rows: list[Row]) -> str:
    """Return means and spreads over seeds, in percent, as Markdown."""

    def shown(some: list[Row], measure: str) -> str:
        values = [100 * row[measure] for row in some if measure in row]
        return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}" if values else "–"

    lines = [
        "| task | attack | balanced accuracy | AUC | AUC among positives |",
        "|---|---|---|---|---|",
    ]
    for task, whose, attack in dict.fromkeys((r["task"], r["whose"], r["attack"]) for r in rows):
        some = [r for r in rows if (r["task"], r["whose"], r["attack"]) == (task, whose, attack)]
        cells = [shown(some, m) for m in ("balanced_accuracy", "auc", "auc_of_positives")]
        name = f"ART: {NAMES[attack]}" if whose == "ART" else f"`{attack}`"
        lines.append(f"| {task} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def fill(page: str, rows: list[Row]) -> str:
    """Return the page with its table renewed."""
    return renewed(page, BEGIN, table(rows), END)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--page", type=Path, help="page whose table is renewed")
    options = parser.parse_args()
    rows = [
        row for make in TASKS for seed in range(options.seeds) for row in compared(make(seed), seed)
    ]
    print(table(rows))
    if options.out:
        result = {
            **how_made("art_comparison"),
            "art": version("adversarial-robustness-toolbox"),
            "rows": rows,
        }
        write_json(options.out, result)
    if options.page:
        options.page.write_text(fill(options.page.read_text("utf-8"), rows), "utf-8")


if __name__ == "__main__":
    main()
