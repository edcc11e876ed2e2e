"""Threshold attacks on 20,000 scores: a sort against trying every score as the threshold."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from selena.metrics.thresholds import fit_class_thresholds

N, CLASSES = 20_000, 100


def plain_threshold(scores: np.ndarray, truth: np.ndarray) -> float:
    """Try every observed score, as the published code does: O(n^2)."""
    best, best_accuracy = 0.0, -1.0
    for threshold in np.sort(scores):
        called = scores >= threshold
        accuracy = called[truth].mean() + (~called[~truth]).mean()
        if accuracy > best_accuracy + 1e-12:  # of equally good ones the lowest
            best, best_accuracy = float(threshold), accuracy
    return best


def plain_class_thresholds(scores: np.ndarray, truth: np.ndarray, labels: np.ndarray) -> np.ndarray:
    per_class = [plain_threshold(scores[labels == c], truth[labels == c]) for c in range(CLASSES)]
    plain_threshold(scores, truth)  # the global one, which the attack reports too
    return np.array(per_class)


def run(repeats: int = 5) -> dict[str, Any]:
    """Return the times of both, as `benchmarks.attacks.run` does.

    Raises:
        AssertionError: the thresholds are not the same.
    """
    draw = np.random.default_rng(0)
    truth = np.arange(N) % 2 == 0
    labels = draw.integers(0, CLASSES, N)
    scores = draw.normal(size=N) + 0.5 * truth
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        fitted = fit_class_thresholds(scores, truth, labels, CLASSES)
        seconds.append(time.perf_counter() - start)
    start = time.perf_counter()
    expected = plain_class_thresholds(scores, truth, labels)
    baseline = time.perf_counter() - start
    np.testing.assert_array_equal(fitted.values, expected)
    median = float(np.median(seconds))
    stage = {
        "ratio": baseline / median,
        "seconds": median,
        "baseline_seconds": baseline,
        "records": N,
    }
    return {"stages": {"threshold_attack": stage}}


if __name__ == "__main__":
    print(run())
