"""Time of each attack against a plain implementation that takes one record after another.

    python -m benchmarks.attacks [--json FILE] [--records N] [--repeats N]

Both get the same records, target and random draws, and their scores are compared before any
time is reported: a fast attack that scores otherwise is an error here, not a result. Times are
the best of some repeats, of scoring alone (the plain one is timed once); the target is a
network of the paper's width. The plain HopSkipJump asks about each record's random points in one
batch, as its authors do; the others ask one question at a time.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from selena.attacks.adaptive import ShadowDistanceAttack
from selena.attacks.augmentation import AugmentationAttack
from selena.attacks.boundary import BoundaryDistanceAttack
from selena.attacks.gaussian_noise import GaussianNoiseAttack
from selena.attacks.hopskipjump import HopSkipJumpAttack
from selena.attacks.indirect import IndirectQueryAttack, IndirectScorer
from selena.attacks.signal_attack import ThresholdAttack
from selena.attacks.signals import confidence
from selena.auditing.oracle import MeteredOracle
from selena.defenses.split_ai import SplitAI
from selena.environment.processor import processor_name
from selena.files.writing import write_json
from selena.networks.mlp import MLP
from selena.seeding import seeded
from selena.training.model import NetworkModel
from selena.training.recipe import Recipe
from selena.types import Attack, Records, Scorer
from tests.attacks import plain
from tests.attacks.planted import CLASSES, Kind, audit_split, records

SEED = 0
WIDTHS: dict[Kind, int] = {"bits": 80, "numbers": 20, "images": 108}
NOISE = GaussianNoiseAttack(sigmas=0.3, relative=False, copies=100)
DESCENT = BoundaryDistanceAttack(steps=100, searches=4)
WALK = HopSkipJumpAttack(queries=500, first_samples=50, starts=20)
AROUND = IndirectQueryAttack("flip", sizes=(2,), copies=8)
SHADOW = ShadowDistanceAttack(
    SplitAI(
        MLP(20, CLASSES, hidden=(16,)),
        CLASSES,
        Recipe(epochs=3, precision="float32"),
        n_submodels=5,
        n_nonmodels=2,
    ),
    direction="+",
)

One = Callable[[Tensor, Tensor], float]
"""The plain score of one record and its label."""


@dataclass(frozen=True)
class Stage:
    """An attack and its plain counterpart.

    Attributes:
        attack: what is timed.
        kind: of the records.
        plain: makes the plain score from target, scorer and oracle.
        tolerance: relative and absolute, for scores that are no fractions of counts.
    """

    attack: Attack
    kind: Kind
    plain: Callable[[NetworkModel, MeteredOracle, Any], One]
    tolerance: float = 0.0


def _fractions(copies: Callable[[Tensor], list[Tensor]]) -> Callable[..., One]:
    def of(_target: NetworkModel, oracle: MeteredOracle, _scorer: Scorer) -> One:
        return lambda x, y: plain.fraction_correct(oracle.labels, copies(x), y)

    return of


def _confidence(target: NetworkModel, _oracle: MeteredOracle, _scorer: Scorer) -> One:
    return lambda x, y: float(confidence(target.logits(x[None]), y[None]))


def _around(target: NetworkModel, _oracle: MeteredOracle, scorer: Scorer) -> One:
    assert isinstance(scorer, IndirectScorer)
    chosen = scorer.copies  # on known records, of those that are asked about

    def signal(x: Tensor, y: Tensor) -> float:
        return float(confidence(target.logits(x[None]), y[None]))

    def one(x: Tensor, y: Tensor) -> float:
        copies = plain.flipped(x, 2, AROUND.copies, SEED)[:chosen]
        return sum(signal(copy, y) for copy in copies) / len(copies) - signal(x, y)

    return one


def _boundary(target: NetworkModel, _oracle: MeteredOracle, _scorer: Scorer) -> One:
    return lambda x, y: plain.carlini_wagner(target.differentiable_logits, x, int(y), DESCENT)


def _walk(_target: NetworkModel, oracle: MeteredOracle, scorer: Any) -> One:
    starts = scorer.measure.__self__.starts
    return lambda x, y: plain.hop_skip_jump(oracle.labels, x, int(y), starts, WALK, SEED)


def _shadow(target: NetworkModel, _oracle: MeteredOracle, scorer: Any) -> One:
    def one(x: Tensor, _y: Tensor) -> float:
        guess = scorer.shadow.logits(x[None]).double().softmax(dim=1)
        return float((guess * target.logits(x[None]).double().log_softmax(dim=1)).sum())

    return one


STAGES: dict[str, Stage] = {
    "confidence": Stage(ThresholdAttack("confidence"), "bits", _confidence, 1e-4),
    "gaussian_noise": Stage(NOISE, "numbers", _fractions(lambda x: plain.noisy(x, 0.3, 100, SEED))),
    "augmentation": Stage(AugmentationAttack(), "images", _fractions(plain.augmented)),
    "boundary": Stage(DESCENT, "numbers", _boundary, 1e-2),
    "hopskipjump": Stage(WALK, "numbers", _walk, 1e-2),
    "indirect": Stage(AROUND, "bits", _around, 1e-3),
    "shadow": Stage(SHADOW, "numbers", _shadow, 1e-4),
}


def run(n: int = 60, repeats: int = 3) -> dict[str, Any]:
    """Return the time of every stage, and the machine it was taken on.

    Raises:
        AssertionError: an attack's scores are not those of its plain counterpart.
    """
    stages = {name: _timed(name, stage, n, repeats) for name, stage in STAGES.items()}
    machine = {
        "processor": processor_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    return {"stages": stages, "machine": machine}


def _timed(name: str, stage: Stage, n: int, repeats: int) -> dict[str, float]:
    with seeded(SEED, "benchmark target"):
        network = MLP(WIDTHS[stage.kind], CLASSES)()
    target = NetworkModel(network.eval(), CLASSES)
    x = records(stage.kind, 0, n)
    candidates = Records(x.x, target.logits(x.x).argmax(dim=1), x.ids)
    seconds = float("inf")
    for _ in range(repeats):
        # A new oracle each time, whose memory of answers is empty.
        oracle = MeteredOracle(target, stage.attack.access)
        scorer = stage.attack.fit(oracle, audit_split(stage.kind).known, seed=SEED)
        start = time.perf_counter()
        scores = scorer.score(candidates)
        seconds = min(seconds, time.perf_counter() - start)
    one = stage.plain(target, oracle, scorer)
    start = time.perf_counter()
    expected = [one(x, y) for x, y in zip(candidates.x, candidates.y, strict=True)]
    baseline = time.perf_counter() - start
    torch.testing.assert_close(
        scores,
        torch.tensor(expected, dtype=torch.float64),
        rtol=stage.tolerance,
        atol=stage.tolerance,
        msg=lambda text: f"{name}: the scores are not those of the plain implementation. {text}",
    )
    return {
        "ratio": baseline / seconds,
        "seconds": seconds,
        "baseline_seconds": baseline,
        "records": n,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--records", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    result = run(options.records, options.repeats)
    print(f"{'attack':<16}{'records':>8}{'seconds':>10}{'plain':>10}{'ratio':>8}")
    for name, stage in result["stages"].items():
        print(
            f"{name:<16}{stage['records']:>8}{stage['seconds']:>10.4f}"
            f"{stage['baseline_seconds']:>10.3f}{stage['ratio']:>8.1f}"
        )
    print(", ".join(f"{key} {value}" for key, value in result["machine"].items()))
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
