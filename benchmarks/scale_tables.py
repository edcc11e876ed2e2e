"""The tables of docs/scaling.md: what was measured, its units, and a large run on paper.

Every figure is computed from the study's JSON; what is assumed instead stands in `Plan`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil
from statistics import median
from typing import Any

from benchmarks.scale_fit import terms
from benchmarks.scale_point import CLASSES, Point
from benchmarks.training import operations
from selena.networks.mlp import MLP

_RANGE = {
    "time-records": "10⁴ to 10⁶ records",
    "time-submodels": "5 to 100 sub-models",
    "time-width": "width 128 to 2,048",
    "time-threads": "1 and 2 threads",
    "time-threads-passive": "1 and 2 threads, OMP_WAIT_POLICY=passive",
    "time-workers": "1 and 2 workers",
    "memory-networks": "5 to 100 sub-models of 78,820 weights",
    "memory-records": "10⁴ to 10⁶ records",
    "memory-submodels": "5 to 100 sub-models",
}
_WALL = ("time-threads", "time-workers")
GB, HOUR = 1e9, 3600
Row = Sequence[str]


@dataclass(frozen=True)
class Plan:
    """A run nobody has made: the paper's recipe on Purchase100's bits, with far more records.

    Attributes:
        n: records.
        k: sub-models.
        l: how many of them do not train on a record.
        network: of the sub-models and the student.
        epochs: of a sub-model.
        student_epochs: of the student.
        accelerator_rate: operations a second that an accelerator is assumed to sustain.
    """

    n: int = 100_000_000
    k: int = 100
    l: int = 40  # noqa: E741 - the paper's letter
    network: MLP = field(default_factory=lambda: MLP(600, CLASSES))
    epochs: int = 30
    student_epochs: int = 60
    accelerator_rate: float = 1e14

    @property
    def submodel_operations(self) -> float:
        """Of one sub-model's training."""
        seen = self.n * (self.k - self.l) / self.k
        return operations(self.network) * seen * self.epochs

    @property
    def student_operations(self) -> float:
        return float(operations(self.network) * self.n * self.student_epochs)


@dataclass(frozen=True)
class Units:
    """What one of each thing costs, as measured.

    Attributes:
        training_rate: operations a second of one core, the paper's network.
        answer_s: processor seconds of one sub-model's answer to one record (soft labels).
        digest_s: processor seconds of one record's digest and its place in the index.
        draw_s: processor seconds of the draw, for one record and sub-model.
        held: phase -> peak bytes (fixed, a record, a record and sub-model).
        copies: how often the weights of a sub-model are held when all are trained.
        label_bytes: what the pass for soft labels adds a record, with few sub-models and with many.
        worker_bytes: anonymous memory that a second worker process adds, halved: each of two.
        contention: wall time over processor time where one thread works: what others took.
    """

    training_rate: float
    answer_s: float
    digest_s: float
    draw_s: float
    held: Mapping[str, tuple[float, float, float]]
    copies: float
    label_bytes: tuple[float, float]
    worker_bytes: float
    contention: float


def units(result: Mapping[str, Any]) -> Units:
    """Return the units of a study."""
    measured = result["measured"]
    (paper,) = measured["paper"]
    point, best = _point(paper), paper["best"]
    alone = [
        m["best"]["training"] for name in ("time-records", "time-width") for m in measured[name]
    ]
    memory = measured["memory-records"] + measured["memory-submodels"]
    draws = [(_point(m), m["best"]["draw"]["cpu_s"]) for m in measured["memory-submodels"]]
    _, draw_s = terms(
        [[p.n for p, _ in draws], [p.n * p.k for p, _ in draws]], [s for _, s in draws]
    )
    few, *_, many = measured["memory-submodels"]
    a_network = _slope(measured["memory-networks"])
    one, two = (m["best"]["training"]["anonymous"] for m in measured["time-workers"])
    return Units(
        training_rate=training_rate(paper),
        answer_s=best["soft labels"]["cpu_s"] / (point.n * point.l),
        digest_s=best["index"]["cpu_s"] / point.n,
        draw_s=draw_s,
        held={phase: _held(memory, phase) for phase in ("draw", "training", "soft labels")},
        copies=a_network / (4 * weights(_point(measured["memory-networks"][0]).network)),
        label_bytes=(_label_bytes(few), _label_bytes(many)),
        worker_bytes=(two - one) / 2,
        contention=median(t["wall_s"] / t["cpu_s"] for t in alone),
    )


def training_rate(measured: Mapping[str, Any]) -> float:
    """Return the operations a processor second of a point's training."""
    point = _point(measured)
    seen = point.n * (point.k - point.l)
    return operations(point.network) * seen / float(measured["best"]["training"]["cpu_s"])


def _point(measured: Mapping[str, Any]) -> Point:
    return Point(**measured["point"] | {"hidden": tuple(measured["point"]["hidden"])})


def _held(memory: Sequence[Mapping[str, Any]], phase: str) -> tuple[float, float, float]:
    points = [_point(m) for m in memory]
    columns: list[list[float]] = [
        [1.0] * len(points),
        [p.n for p in points],
        [p.n * p.k for p in points],
    ]
    fixed, record, pair = terms(columns, [m["best"][phase]["grown"] for m in memory])
    return fixed, record, pair


def _label_bytes(measured: Mapping[str, Any]) -> float:
    phase = measured["best"]["soft labels"]
    return float((phase["anonymous"] - phase["before"]) / measured["point"]["n"])


def _slope(measured: Sequence[Mapping[str, Any]]) -> float:
    """Return by how many bytes a sub-model more raises the peak of training."""
    first, last = measured[0], measured[-1]
    grown = last["best"]["training"]["grown"] - first["best"]["training"]["grown"]
    return float(grown / (last["point"]["k"] - first["point"]["k"]))


def weights(network: MLP) -> int:
    """Return the number of parameters."""
    widths = [network.in_features, *network.hidden, network.num_classes]
    return sum((a + 1) * b for a, b in pairwise(widths))


def tables(result: Mapping[str, Any], plan: Plan | None = None) -> dict[str, str]:
    """Return name -> Markdown table."""
    plan, unit = plan or Plan(), units(result)
    return {
        "exponents": _exponents(result),
        "units": _units(unit),
        "threads": _threads(result),
        "law": _law(result, unit),
        "rates": _rates(result),
        "storage": _storage(plan, unit),
        "compute": _compute(plan, unit),
        "traffic": _traffic(plan),
        "workers": _workers(plan, unit),
    }


def fill(page: str, blocks: Mapping[str, str]) -> str:
    """Return `page` with each block's text between its marks, `<!-- name -->` and `<!-- / -->`.

    Raises:
        ValueError: `page` lacks the marks of a block.
    """
    for name, text in blocks.items():
        start, end = f"<!-- {name} -->\n", "<!-- / -->"
        before, found, rest = page.partition(start)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"The page has no block {start.strip()} … {end}.")
        page = before + start + text + end + after
    return page


def _table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _exponents(result: Mapping[str, Any]) -> str:
    kinds = {"time": "processor time", "memory": "peak memory"}
    rows = [
        (
            "wall time" if name.startswith(_WALL) else kinds[name.split("-")[0]],
            phase,
            _RANGE[name],
            f"{fit['exponent']:.2f}",
            f"{fit['last_exponent']:.2f}",
            f"[{name}](../results/scaling/{name}.png)",
        )
        for name, phases in sorted(result["fits"].items())
        for phase, fit in sorted(phases.items())
    ]
    return _table(("of", "phase", "over", "exponent", "of the last two points", "figure"), rows)


def _units(unit: Units) -> str:
    rows = [
        (f"peak of *{phase}*: {what}", f"{value:,.1f} {name}")
        for phase, (fixed, record, pair) in unit.held.items()
        for what, value, name in (
            ("fixed", fixed / 1e6, "MB"),
            ("a record", record, "bytes"),
            ("a record and sub-model", 8 * pair, "bits"),
        )
    ]
    rows += [
        *(
            (f"the soft labels alone, a record, {many} sub-models", f"{value:,.0f} bytes")
            for many, value in zip(("5", "100"), unit.label_bytes, strict=True)
        ),
        ("a sub-model, when all are trained", f"{unit.copies:.2f} × its weights"),
        ("a worker process, all of its private memory", f"{unit.worker_bytes / 1e6:,.0f} MB"),
        ("training, the paper's network", f"{unit.training_rate / 1e9:,.1f} · 10⁹ operations/s"),
        ("a sub-model's answer to a record", f"{unit.answer_s * 1e6:,.1f} µs"),
        ("digest of 600 bits, and its place in the index", f"{unit.digest_s * 1e6:,.1f} µs"),
        ("draw, a record and sub-model", f"{unit.draw_s * 1e9:,.0f} ns"),
        ("wall time over processor time (other work)", f"{unit.contention:.2f}"),
    ]
    return _table(("unit", "measured"), rows)


def _threads(result: Mapping[str, Any]) -> str:
    rows = [
        (
            f"{point.threads}",
            f"{point.workers}",
            "sleep" if point.passive else "spin",
            f"{best['cpu_s']:.2f}" if point.workers == 1 else "",
            f"{best['wall_s']:.2f}",
        )
        for name, measured in sorted(result["measured"].items())
        if name.startswith(_WALL)
        for m in measured
        for point, best in [(_point(m), m["best"]["training"])]
    ]
    head = (
        "threads",
        "workers",
        "who waits would",
        "processor seconds of training",
        "wall seconds",
    )
    return _table(head, rows)


def _law(result: Mapping[str, Any], unit: Units) -> str:
    (largest,) = result["measured"]["largest"]
    n, k = largest["point"]["n"], largest["point"]["k"]
    rows = [
        (
            phase,
            f"{(fixed + record * n + pair * n * k) / 1e6:,.0f}",
            f"{largest['best'][phase]['grown'] / 1e6:,.0f}",
        )
        for phase, (fixed, record, pair) in unit.held.items()
    ]
    return _table(("peak of", "by the law, MB", "measured, MB"), rows)


def _rates(result: Mapping[str, Any]) -> str:
    wide = result["measured"]["time-width"]
    rows = [
        (
            f"{_point(m).hidden[0]:,}",
            f"{weights(_point(m).network):,}",
            f"{training_rate(m) / 1e9:,.1f}",
        )
        for m in wide
    ]
    return _table(("width", "weights", "10⁹ operations/s"), rows)


def _storage(plan: Plan, unit: Units) -> str:
    n, pairs = plan.n, plan.n * plan.k
    seen = pairs - plan.n * plan.l
    rows = [
        ("features, one byte a bit (mapped file)", n * plan.network.in_features),
        ("features, packed (not built)", n * plan.network.in_features / 8),
        ("digests and their order", 24 * n),
        ("non-model sets, as bits", pairs / 8),
        ("rows of all jobs, as bits", pairs / 8),
        ("rows of one job in training, as 64-bit numbers", 8 * seen / plan.k),
        ("soft labels, float32", 4 * n * plan.network.num_classes),
        ("all sub-models", 4 * weights(plan.network) * plan.k),
        *(
            (f"measured law: peak of *{phase}*", fixed + record * n + pair * pairs)
            for phase, (fixed, record, pair) in unit.held.items()
        ),
    ]
    return _table(("what", "GB"), [(what, f"{size / GB:,.2f}") for what, size in rows])


def _compute(plan: Plan, unit: Units) -> str:
    split = plan.submodel_operations * plan.k
    rows = [
        _cost("Split-AI", split, split / unit.training_rate, plan),
        _cost(
            "student", plan.student_operations, plan.student_operations / unit.training_rate, plan
        ),
        ("soft labels", "", f"{unit.answer_s * plan.n * plan.l / HOUR:,.0f}", ""),
        ("digests, twice", "", f"{2 * unit.digest_s * plan.n / HOUR:,.1f}", ""),
        ("draws", "", f"{unit.draw_s * plan.n * plan.k / HOUR:,.1f}", ""),
    ]
    return _table(("stage", "operations", "core hours", "accelerator hours"), rows)


def _cost(stage: str, done: float, seconds: float, plan: Plan) -> tuple[str, str, str, str]:
    hours = done / plan.accelerator_rate / HOUR
    return stage, f"{done:.2e}", f"{seconds / HOUR:,.0f}", f"{hours:,.1f}"


def _traffic(plan: Plan) -> str:
    n = plan.n
    rows = [
        ("features, once a machine, one byte a bit", n * plan.network.in_features),
        ("features, packed", n * plan.network.in_features / 8),
        ("rows of one sub-model, as bits", n / 8),
        ("weights of one sub-model, back", 4 * weights(plan.network)),
        (
            "its share of the soft labels, back",
            4 * plan.network.num_classes * n * plan.l / plan.k,
        ),
    ]
    return _table(("what", "GB"), [(what, f"{size / GB:,.3f}") for what, size in rows])


def _workers(plan: Plan, unit: Units) -> str:
    """Split-AI is divided among workers, a whole sub-model each; the student is not."""
    rates = {"core": unit.training_rate, "accelerator": plan.accelerator_rate}
    rows = []
    for workers in (1, 10, 50, 100, 1000):
        cells = [f"{workers:,}"]
        for rate in rates.values():
            split = ceil(plan.k / workers) * plan.submodel_operations / rate / HOUR
            student = plan.student_operations / rate / HOUR
            cells += [f"{split:,.2f}", f"{student:,.2f}"]
        rows.append(cells)
    head = [f"{stage}, {kind} (hours)" for kind in rates for stage in ("Split-AI", "student")]
    return _table(("workers", *head), rows)
