"""The library's figures beside those of published formulas, written down again here.

    python -m benchmarks.parity [--location30 FOLDER] [--out results/parity.json]

Nothing of the library is used on the reference's side: formulas are those of papers and of authors'
published code, in plain NumPy, or another library's. With `--location30`, the folder of that data
set's archive, LiRA is also run with 64 trained reference models (minutes).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import binom, norm, spearmanr
from sklearn.metrics import roc_auc_score, roc_curve

from benchmarks import parity_references
from benchmarks.page import how_made, renewed
from selena.attacks.reference_matrix import ReferenceMatrix
from selena.attacks.reference_scores import lira_scores, rmia_scores
from selena.attacks.reference_training import pool_of, train_reference_matrix
from selena.attacks.signals import confidence, modified_entropy
from selena.data.load import load
from selena.data.split import audit_split
from selena.defenses.dp_sgd import DPSGD
from selena.defenses.undefended import Undefended
from selena.files.writing import write_json
from selena.metrics.low_fpr import tpr_at_fpr
from selena.metrics.one_run import epsilon_lower_bound
from selena.metrics.roc import roc_curve as library_curve
from selena.metrics.thresholds import fit_class_thresholds
from selena.networks.mlp import MLP
from selena.training.recipe import Recipe
from selena.types import MembershipSets, concatenate

Row = dict[str, Any]

CLASSES, RECORDS = 30, 2000
LIRA_CODE = "Carlini et al. 2022, authors' code"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


def row(what: str, reference: str, measure: str, value: float, **more: float) -> Row:
    return {"what": what, "reference": reference, "measure": measure, "value": value, **more}


def drawn(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Return logits, labels and membership; members are predicted with more confidence."""
    draws = np.random.default_rng(seed)
    labels = draws.integers(0, CLASSES, RECORDS)
    member = np.arange(RECORDS) % 2 == 0
    logits = draws.normal(size=(RECORDS, CLASSES))
    logits[np.arange(RECORDS), labels] += draws.normal(np.where(member, 5, 3), 2)
    return torch.from_numpy(logits), torch.from_numpy(labels), member


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def signals() -> Iterator[Row]:
    logits, labels, _ = drawn()
    p, y = softmax(logits.numpy()), labels.numpy()
    of_label = p[np.arange(RECORDS), y]
    wrong = p.copy()
    wrong[np.arange(RECORDS), y] = 0
    published = np.log(of_label + 1e-45) - np.log(wrong.sum(axis=1) + 1e-45)
    difference = np.abs(confidence(logits, labels).numpy() - published).max()
    yield row("LiRA's signal", LIRA_CODE, "largest difference", difference)

    log_p, log_rest = (-np.log(np.maximum(each, 1e-30)) for each in (p, 1 - p))
    terms = p * log_rest
    terms[np.arange(RECORDS), y] = (1 - of_label) * log_p[np.arange(RECORDS), y]
    difference = np.abs(modified_entropy(logits, labels).numpy() + terms.sum(axis=1)).max()
    yield row(
        "modified entropy", "Song & Mittal 2021, equation 8", "largest difference", difference
    )


def published_lira(
    observed: np.ndarray, said: np.ndarray, inside: np.ndarray, *, fix_variance: bool
) -> np.ndarray:
    """Return the score as the authors' code computes it: medians, and variances over n."""
    likelihoods = []
    for side in (inside, ~inside):
        seen = said.T[side.T].reshape(said.shape[1], -1)
        spread = np.std(seen) if fix_variance else np.std(seen, axis=1)
        likelihoods.append(norm.logpdf(observed, np.median(seen, axis=1), spread + 1e-30))
    score: np.ndarray = likelihoods[0] - likelihoods[1]
    return score


def population() -> Iterator[Row]:
    """RMIA by the paper's comparison with 20,000 records of the population, gamma = 2."""
    draws = np.random.default_rng(1)
    said = draws.normal(1, 2, size=(8, 21_000))
    observed = said.mean(axis=0) + draws.normal(0, 1, size=21_000)
    target, models = 1 / (1 + np.exp(-observed)), 1 / (1 + np.exp(-said))
    ratio = target / models.mean(axis=0)
    ranked = np.sort(ratio[1000:])
    published = np.searchsorted(ranked, ratio[:1000] / 2, side="right") / len(ranked)
    inside = np.arange(8)[:, None] % 2 == np.arange(1000) % 2
    score = rmia_scores(observed[:1000], said[:, :1000], inside)
    agreement = float(spearmanr(score, published).statistic)
    what = "Zarifzadeh et al. 2024, equation 2, 20,000 population records"
    yield row("RMIA", what, "rank correlation", agreement)


def curves() -> Iterator[Row]:
    logits, labels, member = drawn(2)
    scores = np.round(confidence(logits, labels).numpy(), 2)  # with ties
    curve = library_curve(scores, member)
    fpr, tpr, _ = roc_curve(member, scores, drop_intermediate=False)
    difference = max(np.abs(curve.fpr - fpr).max(), np.abs(curve.tpr - tpr).max())
    yield row("ROC curve", "scikit-learn, roc_curve", "largest difference", float(difference))
    difference = abs(curve.auc - roc_auc_score(member, scores))
    yield row("AUC", "scikit-learn, roc_auc_score", "difference", float(difference))


def song_mittal_threshold(members: np.ndarray, others: np.ndarray) -> float:
    """Return the threshold as the authors' code searches it: every score in turn."""
    best, found = 0.0, 0.0
    for value in np.concatenate([members, others]):
        accuracy = 0.5 * ((members >= value).mean() + (others < value).mean())
        if accuracy > best:
            best, found = accuracy, value
    return found


def class_thresholds() -> Iterator[Row]:
    """Thresholds per class, fitted on one half of the records and applied to the other."""
    logits, labels, member = drawn(3)
    y, scores = labels.numpy(), confidence(logits, labels).numpy()
    known = np.random.default_rng(3).random(RECORDS) < 0.5
    rule = fit_class_thresholds(scores[known], member[known], y[known], CLASSES)
    published = np.array(
        [
            song_mittal_threshold(
                scores[known & member & (y == label)], scores[known & ~member & (y == label)]
            )
            for label in range(CLASSES)
        ]
    )
    accuracies = []
    for limits in (rule.values, published):
        decided = scores >= limits[y]
        rates = [decided[~known & member].mean(), (~decided)[~known & ~member].mean()]
        accuracies.append(float(np.mean(rates)))
    what = "Song & Mittal 2021, authors' code"
    difference = abs(accuracies[0] - accuracies[1])
    found = {"ours": accuracies[0], "theirs": accuracies[1]}
    measure = "difference of attack accuracies"
    yield row("thresholds per class", what, measure, difference, **found)


def canary_bound(m: int, guesses: int, correct: int, delta: float, error: float) -> float:
    """Return epsilon by bisection of Steinke et al. 2023, Appendix D (their published code)."""

    def p_value(epsilon: float) -> float:
        right = 1 / (1 + math.exp(-epsilon))
        beta = float(binom.sf(correct - 1, guesses, right))
        below = np.cumsum(binom.pmf(np.arange(correct - 1, -1, -1), guesses, right))
        alpha = float((below / np.arange(1, correct + 1)).max())
        return min(beta + alpha * delta * 2 * m, 1.0)

    low, high = 0.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(middle) < error else (low, middle)
    return low


def canaries() -> Iterator[Row]:
    draws = np.random.default_rng(4)
    truth = draws.random(1000) < 0.5
    scores = draws.normal(size=1000) + 2.5 * truth
    found = epsilon_lower_bound(scores, truth, delta=1e-5, guesses=500)
    falling = truth[np.argsort(-scores)]
    correct = int(falling[:250].sum() + (~falling[-250:]).sum())
    theirs = canary_bound(1000, 500, correct, 1e-5, 0.05)
    what = "Steinke et al. 2023, bisection, 500 guesses of 1,000"
    both = {"ours": found.epsilon, "theirs": theirs}
    difference = abs(found.epsilon - theirs)
    yield row("ε from canaries", what, "difference", difference, **both)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the exact epsilon of Gaussian noise (Balle & Wang 2018, Theorem 8)."""
    low, high = 0.0, 100.0
    for _ in range(100):
        epsilon = (low + high) / 2
        reached = norm.cdf(mu / 2 - epsilon / mu)
        reached -= math.exp(epsilon + norm.logcdf(-mu / 2 - epsilon / mu))
        low, high = (epsilon, high) if reached > delta else (low, epsilon)
    return high


def private_training() -> Iterator[Row]:
    """Epsilon of DP-SGD: sampled batches beside Opacus, whole batches beside the exact formula."""
    try:
        from opacus.accountants import RDPAccountant
    except ImportError:
        print("DP-SGD is left out: Opacus is not installed.")
        return
    n, delta, network = 2000, 1e-5, MLP(8, 2, hidden=())
    for batch, epochs, noise in ((100, 20, 1.1), (2000, 20, 8.0)):
        recipe = Recipe(batch_size=batch, epochs=epochs)
        ours = DPSGD(network, 2, recipe, noise_multiplier=noise, delta=delta).epsilon(n)
        if batch < n:
            accountant = RDPAccountant()
            for _ in range(epochs * n // batch):
                accountant.step(noise_multiplier=noise, sample_rate=batch / n)
            theirs, what = accountant.get_epsilon(delta), "Opacus' Rényi accountant, an upper bound"
        else:
            theirs = gaussian_epsilon(math.sqrt(epochs) / noise, delta)
            what = "exact, Balle & Wang 2018 (whole batches)"
        both = {"ours": ours, "theirs": float(theirs)}
        yield row("ε of DP-SGD", what, "ours / reference", ours / float(theirs), **both)


def trained(data_dir: Path, runs: int = 64) -> Iterator[Row]:
    """LiRA with trained reference models: its TPR at 1 % FPR by the library and by the authors."""
    data = load("location30", data_dir=data_dir)
    split = audit_split(data, n_members=1000, seed=0)
    network = MLP(data.records.x.shape[1], data.num_classes, hidden=(256,))
    training = Undefended(network, data.num_classes, Recipe(epochs=40, batch_size=64))
    target = training.fit(split.train, split.validation, seed=0)
    members, others = split.evaluation.members, split.evaluation.non_members
    asked = concatenate(members, others)
    known = MembershipSets(split.known.members, split.known.non_members, candidates=asked)
    models = train_reference_matrix(training, pool_of(known), split.validation, runs=runs)
    truth = np.arange(len(asked)) < len(members)
    observed = confidence(target.logits(asked.x), asked.y).numpy()
    places = models.places(asked).numpy()
    for count, shared in ((runs, False), (16, True)):
        said = models.confidences[:count, places].clip(-models.end, models.end)
        inside = models.inside[:count, places]
        variance = "shared" if shared else "record"
        ours = lira_scores(observed, said, inside, variance=variance)
        theirs = published_lira(observed, said, inside, fix_variance=shared)
        rates = [tpr_at_fpr(library_curve(each, truth), 0.01).tpr for each in (ours, theirs)]
        what = f"LiRA, {count} reference models, variance {'shared' if shared else 'per record'}"
        both = {"ours": rates[0], "theirs": rates[1]}
        measure = "difference of TPRs at 1 % FPR"
        yield row(what, LIRA_CODE, measure, rates[0] - rates[1], **both)


def references(matrix: ReferenceMatrix | None = None) -> Iterator[Row]:
    """LiRA, RMIA, BASE and BaVarIA from drawn confidences, or from those of a trained pool."""
    for what, reference, measure, value, more in parity_references.comparisons(matrix):
        yield row(what, reference, measure, value, **more)


def quick() -> list[Row]:
    """Return every comparison that takes no trained model."""
    checks = (
        signals,
        population,
        references,
        curves,
        class_thresholds,
        canaries,
        private_training,
    )
    return [found for check in checks for found in check()]


def table(rows: list[Row]) -> str:
    """Return the figures as Markdown."""

    def shown(number: float | None) -> str:
        if number is None:
            return "–"
        return f"{number:.1e}" if 0 < abs(number) < 1e-3 else f"{number:.7g}"

    lines = [
        "| what | reference | ours | reference's | measure | value |",
        "|---|---|---|---|---|---|",
        *(
            f"| {each['what']} | {each['reference']} | {shown(each.get('ours'))} "
            f"| {shown(each.get('theirs'))} | {each['measure']} | {shown(each['value'])} |"
            for each in rows
        ),
    ]
    return "\n".join(lines)


def fill(page: str, rows: list[Row]) -> str:
    """Return the page with its table of figures renewed."""
    return renewed(page, BEGIN, table(rows), END)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--location30", type=Path, help="folder of Location30's archive")
    parser.add_argument("--references", type=Path, help="a matrix that benchmarks.budgets trained")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--page", type=Path, help="page whose table is renewed")
    options = parser.parse_args()
    rows = quick() + (list(trained(options.location30)) if options.location30 else [])
    if options.references:
        rows += references(ReferenceMatrix.load(options.references))
    print(table(rows))
    if options.out:
        result = {
            **how_made("parity"),
            "rows": rows,
        }
        write_json(options.out, result)
    if options.page:
        options.page.write_text(fill(options.page.read_text("utf-8"), rows), "utf-8")


if __name__ == "__main__":
    main()
