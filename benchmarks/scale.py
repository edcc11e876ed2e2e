"""Memory and time of Split-AI and its soft labels, as one quantity grows at a time.

    python -m benchmarks.scale --out results/scaling [--doc docs/scaling.md] [--redraw]

Every point runs in a process of its own, so that none inherits another's memory. Times of one
thread are processor time (user and system), which other work on the machine disturbs less than
wall time; threads and workers can only be compared by wall time: they take turns, and the best
of some rounds counts. `--redraw` draws and fills in the page from what was measured before.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.rates import matmul_rate
from benchmarks.scale_figures import draw
from benchmarks.scale_fit import power_law
from benchmarks.scale_point import SEED, Point, write_records
from benchmarks.scale_tables import fill, tables
from benchmarks.scale_watch import SAMPLE_SECONDS, measure
from benchmarks.training import compute_dtype
from selena.environment import describe_environment
from selena.files import write_json, write_text

COMMAND = "python -m benchmarks.scale --out results/scaling --doc docs/scaling.md"
KS = (5, 10, 25, 50, 100)
# A network so small that what is left to see is the memory of records and sets.
# And so many records that the memory of a chunk of them does not show either.
_TINY = Point(n=1_000_000, k=20, l=8, hidden=(8,), batch=8192, precision="float32")
_WIDE = Point(n=20_000, k=4, l=2, hidden=(512, 512))
Phases = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Question:
    """One quantity that grows.

    Attributes:
        points: where it is measured, in rising order of the quantity.
        x: the quantity.
        label: its name.
        measured: "cpu_s", "wall_s" or "grown" (bytes above what stood before the first phase).
        phases: what is drawn.
        rounds: how often the points take their turns.
    """

    points: tuple[Point, ...]
    x: Callable[[Point], float]
    label: str
    measured: str
    phases: tuple[str, ...]
    rounds: int = 1


def at_same_share(point: Point, k: int) -> Point:
    """Return `point` with `k` sub-models at the paper's L / K, 10 of 25."""
    return replace(point, k=k, l=2 * k // 5)


TIMES, MEMORY = ("draw", "training", "index", "soft labels"), ("draw", "training", "soft labels")
QUESTIONS = {
    "time-records": Question(
        tuple(Point(n=n, k=2, l=1) for n in (10_000, 100_000, 1_000_000)),
        lambda p: p.n,
        "records, n (K = 2, L = 1: n records trained on)",
        "cpu_s",
        TIMES,
    ),
    "time-submodels": Question(
        tuple(at_same_share(Point(n=5_000, k=5, l=2), k) for k in KS),
        lambda p: p.k,
        "sub-models, K (n = 5,000, L = 0.4 K)",
        "cpu_s",
        ("training", "soft labels"),
        rounds=2,
    ),
    "time-width": Question(
        tuple(Point(n=5_000, k=2, l=1, hidden=(w, w)) for w in (128, 256, 512, 1024, 2048)),
        lambda p: p.hidden[0],
        "width of two hidden layers (n = 5,000, K = 2, L = 1)",
        "cpu_s",
        ("training", "soft labels"),
        rounds=2,
    ),
    "time-threads": Question(
        (_WIDE, replace(_WIDE, threads=2)),
        lambda p: p.threads,
        "threads (n = 20,000, K = 4, two layers of 512)",
        "wall_s",
        ("training", "soft labels"),
        rounds=3,
    ),
    "time-threads-passive": Question(
        (replace(_WIDE, passive=True), replace(_WIDE, passive=True, threads=2)),
        lambda p: p.threads,
        "sleeping threads (n = 20,000, K = 4, two layers of 512)",
        "wall_s",
        ("training", "soft labels"),
        rounds=3,
    ),
    "time-workers": Question(
        (_WIDE, replace(_WIDE, workers=2)),
        lambda p: p.workers,
        "workers (n = 20,000, K = 4, two layers of 512)",
        "wall_s",
        ("training",),
        rounds=3,
    ),
    "memory-networks": Question(
        tuple(at_same_share(Point(n=5_000, k=5, l=2, precision="float32"), k) for k in KS),
        lambda p: p.k,
        "sub-models, K (n = 5,000, L = 0.4 K, float32)",
        "grown",
        ("training",),
    ),
    "memory-records": Question(
        tuple(replace(_TINY, n=n) for n in (10_000, 100_000, 1_000_000)),
        lambda p: p.n,
        "records, n (K = 20, L = 8)",
        "grown",
        MEMORY,
    ),
    "memory-submodels": Question(
        tuple(at_same_share(_TINY, k) for k in KS),
        lambda p: p.k,
        "sub-models, K (n = 1,000,000, L = 0.4 K)",
        "grown",
        MEMORY,
    ),
}
# The paper's network on Purchase100's 600 bits: what a record costs there.
PAPER = Point(n=5_000, k=5, l=2, bits=600, hidden=(1024, 512, 256, 128))
# Measured to see whether the law of memory holds there; nothing is fitted to it.
LARGEST = at_same_share(replace(_TINY, n=2_000_000), 50)
# Bytes. Less is lost in what the process had reserved before.
LEAST_PEAK = 8e6
Y_LABELS = {
    "cpu_s": "processor seconds, one thread",
    "wall_s": "wall seconds, best of the rounds",
    "grown": "peak of anonymous memory above the start, MB",
}


def run(questions: dict[str, Question], paper: Point, largest: Point) -> dict[str, Any]:
    """Measure every point and return the study as JSON."""
    started, load = time.perf_counter(), os.getloadavg()
    everything = [p for question in questions.values() for p in question.points]
    everything += [paper, largest]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for bits in {point.bits for point in everything}:
            write_records(folder, max(p.n for p in everything if p.bits == bits), bits)
        measured = {
            name: ask(question.points, question.rounds, folder)
            for name, question in questions.items()
        }
        measured["paper"] = ask((paper,), 2, folder)
        measured["largest"] = ask((largest,), 1, folder)
    return {
        "command": COMMAND,
        "seed": SEED,
        "environment": describe_environment(),
        "sample_seconds": SAMPLE_SECONDS,
        "load_average": {"before": load, "after": os.getloadavg()},
        "matmul_rate": matmul_rate(compute_dtype()),
        "study_seconds": time.perf_counter() - started,
        "measured": measured,
    }


def ask(points: Sequence[Point], rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Measure points in turn; return each with its rounds and the best of them."""
    turns: list[list[Phases]] = [[] for _ in points]
    for _ in range(rounds):
        for point, taken in zip(points, turns, strict=True):
            print(point, flush=True)
            taken.append(with_growth(measure(point, folder)))
    return [
        {"point": point.as_json(), "rounds": taken, "best": best(taken)}
        for point, taken in zip(points, turns, strict=True)
    ]


def with_growth(phases: Phases) -> Phases:
    """Add to each phase by how much its peak exceeds what stood before the sets were drawn."""
    before = phases["draw"]["before"]
    return {name: p | {"grown": p["anonymous"] - before} for name, p in phases.items()}


def best(rounds: Sequence[Phases]) -> Phases:
    """Return the shortest times and the highest peaks."""
    return {
        name: {
            what: (min if what.endswith("_s") else max)(r[name][what] for r in rounds)
            for what in rounds[0][name]
        }
        for name in rounds[0]
    }


def series(
    question: Question, measured: Sequence[dict[str, Any]]
) -> dict[str, tuple[list[float], list[float]]]:
    """Return phase -> (quantity, measure), without peaks too small to be told from the rest."""
    least = LEAST_PEAK if question.measured == "grown" else 0.0
    found = {}
    for phase in question.phases:
        y = [float(m["best"][phase][question.measured]) for m in measured]
        x = [float(question.x(point)) for point in question.points]
        seen = [(a, b) for a, b in zip(x, y, strict=True) if b >= least]
        found[phase] = ([a for a, _ in seen], [b for _, b in seen])
    return found


def fits(question: Question, measured: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return phase -> the fitted power law, for those of two points or more."""
    laws = {
        phase: power_law(x, y) for phase, (x, y) in series(question, measured).items() if len(x) > 1
    }
    return {
        phase: {"exponent": law.exponent, "factor": law.factor, "last_exponent": law.last}
        for phase, law in laws.items()
    }


def write(result: dict[str, Any], out: Path, doc: Path | None) -> None:
    """Fit, and write the JSON, a figure a question, and the tables of the page."""
    result["fits"] = {name: fits(q, result["measured"][name]) for name, q in QUESTIONS.items()}
    write_json(out / "scaling.json", result)
    for name, question in QUESTIONS.items():
        unit = 1e6 if question.measured == "grown" else 1.0
        points = series(question, result["measured"][name])
        figure = draw(
            {phase: (x, [one / unit for one in y]) for phase, (x, y) in points.items()},
            title=f"{'Memory' if question.measured == 'grown' else 'Time'}: {question.label}",
            x_label=question.label.partition(" (")[0],
            y_label=Y_LABELS[question.measured],
        )
        figure.savefig(out / f"{name}.png", dpi=120, metadata={"Software": None})
    if doc is not None:
        write_text(doc, fill(doc.read_text(encoding="utf-8"), tables(result)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--doc", type=Path)
    parser.add_argument("--redraw", action="store_true")
    wish = parser.parse_args()
    if wish.redraw:
        result = json.loads((wish.out / "scaling.json").read_text(encoding="utf-8"))
    else:
        result = run(QUESTIONS, PAPER, LARGEST)
        write_json(wish.out / "scaling.json", result)  # whatever becomes of the fits
    write(result, wish.out, wish.doc)


if __name__ == "__main__":
    main()
