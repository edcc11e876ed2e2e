"""The gate: an audit that meets a condition fails, and with it a pipeline.

What is compared with a condition's limit is an end of the figure's interval, or both of them, so
that too few records are told from a safe model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from selena.auditing.conditions import TPR_AT_FPR, Condition
from selena.auditing.report import AuditReport
from selena.errors import ConfigError, unknown_name
from selena.metrics.intervals import Interval, advantage_interval
from selena.metrics.roc import roc_curve, tpr_at_fpr

Bound = Literal["both", "upper", "lower", "point"]
"""What is compared with the limit. Named for conditions with `>`; those with `<` swap the ends.

- "both": fails when the whole interval is beyond the limit, holds when none of it is, and is
  unresolved in between.
- "upper": strict; fails unless the value was shown to be within the limit.
- "lower": lenient; fails only when the value was shown to be beyond the limit.
- "point": the value itself, however few records it comes from.
"""

Outcome = Literal["holds", "unresolved", "fails"]

EXIT_CODES: dict[Outcome, int] = {"holds": 0, "unresolved": 2, "fails": 3}
"""What a command exits with; the highest of several verdicts wins."""

_ATTACK_KEYS = {"advantage": "advantage", "accuracy": "balanced_accuracy", "auc": "auc"}


def check_bound(name: str) -> Bound:
    """Return `name` as a `Bound`; raise `ConfigError` for an unknown one."""
    for bound in get_args(Bound):
        if name == bound:
            return bound  # type: ignore[no-any-return]
    raise unknown_name("bound", name, get_args(Bound))


@dataclass(frozen=True)
class Measurement:
    """One figure of an audit.

    Attributes:
        source: whose figure it is: "direct attack neural/global", or "target model".
        value: the figure.
        interval: its 95 % interval.
        n: how many records it comes from, by kind.
        needed_non_members: where the non-members cannot resolve the false-positive rate asked
            for, the fewest that could; otherwise None.
    """

    source: str
    value: float
    interval: Interval
    n: dict[str, int]
    needed_non_members: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What became of a condition.

    Attributes:
        condition: the condition.
        bound: what was compared with its limit.
        measured: the figure; of several attack families the one nearest to failing.
        subject: which of several audits was judged; may be empty.
    """

    condition: Condition
    bound: Bound
    measured: Measurement
    subject: str = ""

    @property
    def outcome(self) -> Outcome:
        """Whether the condition fails the gate, holds, or cannot be resolved with these records."""
        if self.measured.needed_non_members is not None:
            return "unresolved"
        met = self.condition.met_by
        if self.bound == "both":
            if met(self._lenient_end):
                return "fails"
            return "unresolved" if met(self._strict_end) else "holds"
        return "fails" if met(self._compared) else "holds"

    @property
    def reason(self) -> str:
        """Why, in plain words."""
        if self.measured.needed_non_members is not None:
            return (
                f"{self.measured.n['non_members']:,} non-members cannot resolve a FPR of "
                f"{self.condition.fpr:g}; at least {self.measured.needed_non_members:,} can"
            )
        if self.outcome == "unresolved":
            return f"the limit lies within the interval; {self._records_that_settle}"
        beyond = "above" if self.condition.upwards else "below"
        if self.condition.operator.endswith("="):
            beyond = f"at or {beyond}"
        negation = "" if self.outcome == "fails" else "not "
        return f"{self._compared_name} is {negation}{beyond} {self.condition.limit:g}"

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "condition": str(self.condition),
            "subject": self.subject,
            "outcome": self.outcome,
            "reason": self.reason,
            "bound": self.bound,
            "judged": self.measured.source,
            "value": self.measured.value,
            "interval": list(self.measured.interval),
            "n": dict(self.measured.n),
        }

    @property
    def _lenient_end(self) -> float:
        """The interval's end that is farthest from failing."""
        return self.measured.interval[0 if self.condition.upwards else 1]

    @property
    def _strict_end(self) -> float:
        """The interval's end that is nearest to failing."""
        return self.measured.interval[1 if self.condition.upwards else 0]

    @property
    def _compared(self) -> float:
        """The one number that a single bound compares; of both, the one that settled it."""
        if self.bound == "point":
            return self.measured.value
        if self.bound == "both":
            shown = self.condition.met_by(self._lenient_end)
            return self._lenient_end if shown else self._strict_end
        return self._lenient_end if self.bound == "lower" else self._strict_end

    @property
    def _compared_name(self) -> str:
        if self.bound == "point":
            return f"the value {self._compared:.4f}"
        low, _ = self.measured.interval
        return f"the {'lower' if self._compared == low else 'upper'} end {self._compared:.4f}"

    @property
    def _records_that_settle(self) -> str:
        """How many more records move the end behind the limit: widths fall as 1 / sqrt(n)."""
        value, limit = self.measured.value, self.condition.limit
        end = self._lenient_end if self.condition.met_by(value) else self._strict_end
        if abs(end - value) > 10 * abs(limit - value):
            return "the value is too near to it for any realistic number of records"
        times = ((end - value) / (limit - value)) ** 2
        return f"about {times:.1f} times the records would settle it if the value stays"


def judge(
    report: AuditReport | Mapping[str, Any],
    conditions: Iterable[Condition],
    bound: Bound = "both",
    *,
    subject: str = "",
) -> list[Verdict]:
    """Judge an audit by `conditions`; return one verdict each, in their order.

    Of each attack family that was run, the attack that did best on known records is judged; the
    verdict is that of the family nearest to failing.

    Args:
        report: an audit, or its JSON (`selena-audit/1`). The JSON can be asked for a TPR at the
            false-positive rates that it holds only.
        conditions: when to fail.
        bound: what is compared with the limits.
        subject: a name for the audit, where there are several.

    Raises:
        ConfigError: the report lacks what a condition is about.
    """
    conditions = list(conditions)
    audit = _as_json(report, conditions) if isinstance(report, AuditReport) else report
    return [
        max(
            (Verdict(condition, bound, m, subject) for m in _measurements(audit, condition)),
            key=_severity,
        )
        for condition in conditions
    ]


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """Return 3 if a condition fails, else 2 if one is unresolved, else 0."""
    return max((EXIT_CODES[verdict.outcome] for verdict in verdicts), default=0)


def _severity(verdict: Verdict) -> tuple[int, float]:
    value = verdict.measured.value
    return EXIT_CODES[verdict.outcome], value if verdict.condition.upwards else -value


def _as_json(report: AuditReport, conditions: Iterable[Condition]) -> dict[str, Any]:
    """Return the report as JSON, with the TPR at every false-positive rate asked for."""
    audit = report.to_json()
    asked = [condition.fpr for condition in conditions if condition.fpr is not None]
    for family in report.families:
        scored = report.best(family).result.scores.evaluation
        curve = roc_curve(scored.scores, scored.truth)
        points = {str(fpr): asdict(tpr_at_fpr(curve, fpr)) for fpr in asked}
        audit["best"][family]["tpr_at_fpr"] |= points
    return audit


def _measurements(audit: Mapping[str, Any], condition: Condition) -> list[Measurement]:
    """Return the figure of the target model, or one figure a family of attacks."""
    if condition.metric == "gap":
        return [_gap(audit)]
    if condition.metric in ("train_accuracy", "test_accuracy"):
        n = {"records": audit[condition.metric.replace("accuracy", "n")]}
        return [_measurement("target model", audit, condition.metric, n)]
    if not audit["best"]:
        raise ConfigError(f"{condition} is about an attack, and the report holds none. Run one.")
    return [_of_attack(best, condition, family) for family, best in audit["best"].items()]


def _of_attack(best: Mapping[str, Any], condition: Condition, family: str) -> Measurement:
    n = {"members": best["members"], "non_members": best["non_members"]}
    source = f"{family} attack {best['attack']}"
    if condition.metric == TPR_AT_FPR:
        return _tpr(best["tpr_at_fpr"], condition, source, n)
    return _measurement(source, best, _ATTACK_KEYS[condition.metric], n)


def _measurement(
    source: str, figures: Mapping[str, Any], key: str, n: dict[str, int]
) -> Measurement:
    low, high = figures[f"{key}_interval"]
    return Measurement(source, figures[key], (low, high), n)


def _gap(audit: Mapping[str, Any]) -> Measurement:
    """Return train minus test accuracy, a difference of proportions as the advantage is one."""
    train, test = audit["train_n"], audit["test_n"]
    right = round(audit["train_accuracy"] * train), round(audit["test_accuracy"] * test)
    return Measurement(
        "target model",
        audit["train_accuracy"] - audit["test_accuracy"],
        advantage_interval(right[0], train, right[1], test),
        {"train": train, "test": test},
    )


def _tpr(
    points: Mapping[str, Any], condition: Condition, source: str, n: dict[str, int]
) -> Measurement:
    if str(condition.fpr) not in points:
        held = ", ".join(sorted(points, key=float))
        raise ConfigError(
            f"{condition}: the report holds the TPR at FPRs of {held} only. Ask for one of them, "
            "or audit again with the condition."
        )
    point = points[str(condition.fpr)]
    low, high = point["interval"]
    needed = None if point["resolved"] else point["needed_non_members"]
    return Measurement(source, point["tpr"], (low, high), n, needed)
