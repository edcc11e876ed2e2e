"""How often the intervals that an audit prints cover the true value, by simulation.

    python -m benchmarks.coverage --out results/coverage.json

Scores are drawn from laws whose true figures are known. A quick part of every simulation is a
test: `tests/metrics/test_coverage.py`.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from math import sqrt
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from benchmarks.page import how_made
from selena.auditing.report import Accuracy
from selena.auditing.run import _trials
from selena.auditing.scoring import _means
from selena.files.writing import write_json
from selena.metrics import (
    LOW_FPRS,
    Interval,
    Summary,
    advantage_interval,
    precision_and_recall,
    precision_at_k,
    roc_curve,
    summarize,
    tpr_at_fpr,
)
from selena.metrics.intervals import joined_difference

Draw = np.random.Generator
Covered = Counter[str]
"""How many intervals covered the true value, by figure."""
Figure = tuple[float, Interval]
"""A value and its interval."""


@dataclass(frozen=True)
class Law:
    """How scores of members and non-members are distributed, and the true figures.

    Attributes:
        members, non_members: draw n scores.
        tail: P(score >= t) of members and of non-members.
        auc: the true AUC.
        tpr: the true TPR at a FPR.
        cut: the threshold of the decisions.
    """

    members: Callable[[np.random.Generator, int], np.ndarray]
    non_members: Callable[[np.random.Generator, int], np.ndarray]
    tail: Callable[[float], tuple[float, float]]
    auc: float
    tpr: Callable[[float], float]
    cut: float


def normal(mean: float) -> Law:
    return Law(
        lambda draw, n: draw.normal(mean, 1, n),
        lambda draw, n: draw.normal(0, 1, n),
        lambda t: (stats.norm.sf(t - mean), stats.norm.sf(t)),
        float(stats.norm.cdf(mean / sqrt(2))),
        lambda fpr: float(stats.norm.sf(stats.norm.isf(fpr) - mean)),
        mean / 2,
    )


def heavy() -> Law:
    """Cauchy scores, one apart: the AUC is that of a Cauchy difference of scale 2."""
    return Law(
        lambda draw, n: draw.standard_cauchy(n) + 1,
        lambda draw, n: draw.standard_cauchy(n),
        lambda t: (stats.cauchy.sf(t - 1), stats.cauchy.sf(t)),
        float(stats.cauchy.cdf(1 / 2)),
        lambda fpr: float(stats.cauchy.sf(stats.cauchy.isf(fpr) - 1)),
        0.5,
    )


def exposed() -> Law:
    """One member in twenty scores far above all others."""
    apart, share = 6.0, 0.05

    def members(draw: np.random.Generator, n: int) -> np.ndarray:
        return draw.normal(0, 1, n) + apart * (draw.random(n) < share)

    def tail(t: float) -> tuple[float, float]:
        plain = float(stats.norm.sf(t))
        return (1 - share) * plain + share * float(stats.norm.sf(t - apart)), plain

    return Law(
        members,
        lambda draw, n: draw.normal(0, 1, n),
        tail,
        (1 - share) / 2 + share * float(stats.norm.cdf(apart / sqrt(2))),
        lambda fpr: tail(float(stats.norm.isf(fpr)))[0],
        0.0,
    )


def levels(mean: float) -> Law:
    """Scores of five values: what a normal score is worth by four cuts."""
    cuts = np.array([-1.0, 0.0, 1.0, 2.0])

    def graded(scores: np.ndarray) -> np.ndarray:
        return np.asarray(np.digitize(scores, cuts), dtype=float)

    def tail(t: float) -> tuple[float, float]:
        edge = np.append(-np.inf, cuts)[round(t)]
        return float(stats.norm.sf(edge - mean)), float(stats.norm.sf(edge))

    tails = [tail(level) for level in range(5)]
    p = -np.diff([a for a, _ in tails] + [0.0])
    q = -np.diff([b for _, b in tails] + [0.0])
    auc = float(sum(p[i] * (q[:i].sum() + q[i] / 2) for i in range(5)))
    return Law(
        lambda draw, n: graded(draw.normal(mean, 1, n)),
        lambda draw, n: graded(draw.normal(0, 1, n)),
        tail,
        auc,
        lambda fpr: max([0.0] + [a for a, b in tails if b <= fpr]),
        2.0,
    )


LAWS = {
    "harmless": normal(0),
    "weak": normal(0.5),
    "medium": normal(1),
    "strong": normal(2),
    "near-one": normal(3),
    "heavy-tails": heavy(),
    "exposed": exposed(),
    "five-levels": levels(1),
    "five-levels-strong": levels(3),
}


def audited(law: Law, n: int, draw: Draw, *, comparisons: int = 1) -> Summary:
    """Return the figures of an attack on n members and n non-members."""
    truth = np.arange(2 * n) < n
    scores = np.concatenate([law.members(draw, n), law.non_members(draw, n)])
    return summarize(scores, scores >= law.cut, truth, comparisons=comparisons)


def note(covered: Covered, figure: str, interval: Interval, true: float) -> None:
    """Count an interval that covers; its ends may miss by rounding."""
    covered[figure] += interval[0] - 1e-9 <= true <= interval[1] + 1e-9


def at(fpr: float) -> str:
    return f"TPR at {100 * fpr:g} % FPR"


def one_attack(law: Law, n: int, draw: Draw, covered: Covered) -> None:
    """Every figure of one attack."""
    found, (above, of_others) = audited(law, n, draw), law.tail(law.cut)
    note(covered, "advantage", found.advantage_interval, above - of_others)
    note(covered, "AUC", found.auc_interval, law.auc)
    for fpr, point in found.tpr_at_fpr.items():
        note(covered, at(fpr), point.interval, law.tpr(fpr))
    decisions = np.zeros(2 * n, dtype=bool)
    decisions[: round(found.tpr * n)] = decisions[n : n + round(found.fpr * n)] = True
    accused = precision_and_recall(decisions, np.arange(2 * n) < n)
    note(covered, "recall", accused.recall_interval, above)
    note(covered, "precision", accused.precision_interval, above / (above + of_others))


def realized_fpr(n: int, draw: Draw, covered: Covered) -> None:
    """The FPR of the threshold that a TPR at 1 % FPR takes."""
    truth = np.arange(2 * n) < n
    scores = draw.normal(truth * 1.0, 1)
    point = tpr_at_fpr(roc_curve(scores, truth), 0.01)
    lowest = np.sort(scores[~truth])[::-1][point.allowed_false_positives]
    within = scores[scores > lowest].min()  # the threshold that the rule takes
    note(covered, "realized FPR", point.realized_fpr_interval, float(stats.norm.sf(within)))


def accuracy_of_subjects(rate: float, n: int, draw: Draw, covered: Covered) -> None:
    """A model's accuracy on n subjects with 1 to 9 rows, right or wrong together."""
    own = draw.beta(rate, 1 - rate, n)
    of = np.repeat(np.arange(n), draw.integers(1, 10, n))
    right = draw.random(len(of)) < own[of]
    found = Accuracy.of(int(right.sum()), len(of), _trials(right, of))
    note(covered, "accuracy", found.interval, rate)


def subject_scores(effect: float, n: int, draw: Draw) -> np.ndarray:
    """Return the scores of n subjects with 1 to 9 rows, which have half of their spread in common.

    Larger subjects leak more.
    """
    sizes = draw.integers(1, 10, n)
    of = np.repeat(np.arange(n), sizes)
    rows = draw.normal(effect * sizes / 5, 1)[of] + draw.normal(0, 1, len(of))
    return np.asarray(_means(torch.from_numpy(rows), of, sizes).numpy())


@cache
def law_of_subjects(effect: float) -> Law:
    """Return the law of subjects' scores; its true figures are those of 400,000 per side."""
    draw, n = np.random.default_rng(12345), 400_000
    sides = [subject_scores(each, n, draw) for each in (effect, 0.0)]
    curve = roc_curve(np.concatenate(sides), np.arange(2 * n) < n)
    cut = effect / 2
    above = (float((sides[0] >= cut).mean()), float((sides[1] >= cut).mean()))
    return Law(
        lambda draw, n: subject_scores(effect, n, draw),
        lambda draw, n: subject_scores(0.0, n, draw),
        lambda _: above,
        curve.auc,
        lambda fpr: float(np.interp(fpr, curve.fpr, curve.tpr)),
        cut,
    )


def subjects(effect: float, n: int, draw: Draw, covered: Covered) -> None:
    """Every figure of one attack on n subjects per side, each scored as one."""
    one_attack(law_of_subjects(effect), n, draw, covered)


def precision_of_ranking(share: float, n: int, draw: Draw, covered: Covered) -> None:
    """The precision of the k highest of n scores, for a `share` that a stronger attack finds."""
    found = draw.random(n) < share
    k = n // 20
    _, interval = precision_at_k(draw.normal(found * 1.5, 1), found, k)
    note(covered, "precision of the k highest", interval, true_precision(share, k / n))


@cache
def true_precision(share: float, looked_at: float) -> float:
    cuts = np.linspace(6, -6, 100_001)
    flagged = share * stats.norm.sf(cuts - 1.5)
    above = flagged + (1 - share) * stats.norm.sf(cuts)
    place = int(np.searchsorted(above, looked_at))
    return float(flagged[place] / above[place])


def few_records(rates: tuple[float, float], n: int, draw: Draw, covered: Covered) -> None:
    """An advantage of n members and 4 n non-members: of a class, of a guessed attribute."""
    hits, alarms = int(draw.binomial(n, rates[0])), int(draw.binomial(4 * n, rates[1]))
    interval = advantage_interval(hits, n, alarms, 4 * n)
    note(covered, "advantage", interval, rates[0] - rates[1])


def change(laws: tuple[str, str], n: int, draw: Draw, covered: Covered) -> None:
    """The difference between the audits of two models, each of records of its own."""
    before, after = (LAWS[name] for name in laws)
    first, second = audited(before, n, draw), audited(after, n, draw)
    (hits, alarms), (left, rest) = before.tail(before.cut), after.tail(after.cut)

    def compared(figure: str, was: Figure, now: Figure, true: float) -> None:
        note(covered, figure, joined_difference(*now, *was), true)

    compared(
        "advantage",
        (first.advantage, first.advantage_interval),
        (second.advantage, second.advantage_interval),
        (left - rest) - (hits - alarms),
    )
    compared(
        "AUC",
        (first.auc, first.auc_interval),
        (second.auc, second.auc_interval),
        after.auc - before.auc,
    )
    for fpr in LOW_FPRS:
        was, now = first.tpr_at_fpr[fpr], second.tpr_at_fpr[fpr]
        true = after.tpr(fpr) - before.tpr(fpr)
        compared(at(fpr), (was.tpr, was.interval), (now.tpr, now.interval), true)


def search(candidates: int, n: int, draw: Draw, covered: Covered) -> None:
    """The upper end that a search reports of the candidate with the lowest figure; 97.5 %."""
    law = LAWS["medium"]
    found = [audited(law, n, draw, comparisons=candidates) for _ in range(candidates)]
    points = [each.tpr_at_fpr[0.1] for each in found]
    upper = min(points, key=lambda point: point.tpr).interval[1]
    note(covered, at(0.1) + ", upper end", (0.0, upper), law.tpr(0.1))
    upper = min(found, key=lambda each: each.auc).auc_interval[1]
    note(covered, "AUC, upper end", (0.0, upper), law.auc)


@dataclass(frozen=True)
class Setting:
    """One simulation.

    Attributes:
        what: what is audited.
        detail: the law of its scores, or its rates.
        n: records, or subjects, per side.
        draw: audits once and counts the intervals that cover.
    """

    what: str
    detail: str
    n: int
    draw: Callable[[Draw, Covered], None]

    def covered(self, repetitions: int, seed: int = 0) -> dict[str, float]:
        """Return by figure which share of the intervals covers."""
        draw, covered = np.random.default_rng([seed, self.n]), Covered()
        for _ in range(repetitions):
            self.draw(draw, covered)
        return {figure: count / repetitions for figure, count in covered.items()}


def attacks(sizes: tuple[int, ...] = (100, 300, 1000, 5000)) -> Iterator[Setting]:
    """Yield one attack's figures under each law."""
    for n in sizes:
        for name, law in LAWS.items():
            yield Setting("attack", name, n, partial(one_attack, law, n))


def others() -> Iterator[Setting]:
    """Yield everything else that is printed with an interval."""
    for n in (300, 1000):
        yield Setting("threshold", "medium", n, partial(realized_fpr, n))
    for n in (50, 300):
        for rate in (0.5, 0.9, 0.97):
            each = partial(accuracy_of_subjects, rate, n)
            yield Setting("accuracy of subjects", f"rate {rate}", n, each)
    for n in (100, 300, 1000):
        for effect in (0.0, 1.0):
            each = partial(subjects, effect, n)
            yield Setting("subjects of unequal size", f"effect {effect}", n, each)
    for n in (200, 1000, 5000):
        for share in (0.02, 0.2):
            each = partial(precision_of_ranking, share, n)
            yield Setting("ranking", f"share {share}", n, each)
    for n in (10, 30, 100):
        for rates in ((0.5, 0.5), (0.9, 0.5), (0.98, 0.9), (0.1, 0.02)):
            each = partial(few_records, rates, n)
            yield Setting("class or attribute", "{} against {}".format(*rates), n, each)
    for n in (100, 300, 1000):
        for laws in (("strong", "weak"), ("medium", "medium"), ("near-one", "harmless")):
            each = partial(change, laws, n)
            yield Setting("two audits", "{}, then {}".format(*laws), n, each)
    for candidates in (5, 20):
        yield Setting("search", f"{candidates} alike", 300, partial(search, candidates, 300))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    lowest: dict[str, tuple[float, str]] = {}
    for setting in (*attacks(), *others()):
        covered = setting.covered(options.repetitions, options.seed)
        detail = {"what": setting.what, "detail": setting.detail, "n": setting.n}
        rows.append({**detail, "covered": covered})
        print(*detail.values(), covered, flush=True)
        for figure, share in covered.items():
            least = (share, f"{setting.detail}, n = {setting.n}")
            key = f"{setting.what}: {figure}"
            lowest[key] = min(lowest.get(key, least), least)
    if options.out:
        result = {
            **how_made("coverage"),
            "repetitions": options.repetitions,
            "seed": options.seed,
            "lowest": lowest,
            "rows": rows,
        }
        write_json(options.out, result)


if __name__ == "__main__":
    main()
