"""Coverage and strength of the bounds on epsilon from one training, by simulation.

    python -m benchmarks.one_run --out results/one-run-coverage.json

Each draw has 300 canaries. Randomized response is as private as it says and no more, so its bound
can be too high; Gaussian noise has more than one epsilon, and what is proved of it is lower.
"""

from __future__ import annotations

import argparse
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import brentq

from benchmarks.page import how_made
from selena.files.writing import write_json
from selena.metrics import epsilon_lower_bound, gaussian_epsilon_lower_bound
from selena.metrics.one_run import GAUSSIAN_SHARES, epsilon_of_gaussian

CANARIES, DELTA = 300, 1e-5


def response(epsilon: float, draws: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    truth = draws.random(CANARIES) < 0.5
    right = draws.random(CANARIES) < exp(epsilon) / (1 + exp(epsilon))
    return np.where(right, truth, ~truth) + draws.random(CANARIES) / 10, truth


def gaussian(mu: float, draws: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    truth = draws.random(CANARIES) < 0.5
    return draws.normal(size=CANARIES) + mu * truth, truth


def divided(scores: np.ndarray, truth: np.ndarray) -> float:
    """Return the best of five numbers of guesses, each at a fifth of the error."""
    return max(
        epsilon_lower_bound(
            scores,
            truth,
            delta=DELTA,
            confidence=1 - 0.05 / len(GAUSSIAN_SHARES),
            guesses=2 * round(share * CANARIES),
        ).epsilon
        for share in GAUSSIAN_SHARES
    )


BOUNDS = {
    "epsilon_lower_bound": lambda *case: epsilon_lower_bound(*case, delta=DELTA).epsilon,
    "error divided among five": divided,
    "gaussian_epsilon_lower_bound": lambda *case: (
        gaussian_epsilon_lower_bound(*case, delta=DELTA).epsilon
    ),
}


def simulate(mechanism: str, epsilon: float, repetitions: int, seed: int) -> dict[str, Any]:
    mu = 0.0
    if mechanism == "gaussian" and epsilon:
        mu = float(brentq(lambda m: epsilon_of_gaussian(m, DELTA) - epsilon, 1e-3, 50))
    found: dict[str, list[float]] = {name: [] for name in BOUNDS}
    draws = np.random.default_rng(seed)
    for _ in range(repetitions):
        case = gaussian(mu, draws) if mechanism == "gaussian" else response(epsilon, draws)
        for name, bound in BOUNDS.items():
            if mechanism == "gaussian" or not name.startswith("gaussian"):
                found[name].append(bound(*case))
    return {
        "mechanism": mechanism,
        "true_epsilon": epsilon,
        "draws": repetitions,
        "bounds": {
            name: {
                "covered": float(np.mean(np.array(values) <= epsilon)),
                "quantiles_25_50_75": [float(v) for v in np.quantile(values, (0.25, 0.5, 0.75))],
            }
            for name, values in found.items()
            if values
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    rows = []
    for mechanism, epsilons in (("response", (0, 1, 2, 4)), ("gaussian", (0, 2, 4, 8))):
        for epsilon in epsilons:
            rows.append(simulate(mechanism, epsilon, options.draws, options.seed))
            print(rows[-1])
    if options.out:
        result = {
            **how_made("one_run"),
            "canaries": CANARIES,
            "delta": DELTA,
            "seed": options.seed,
            "rows": rows,
        }
        write_json(options.out, result)


if __name__ == "__main__":
    main()
