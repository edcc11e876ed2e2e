"""The gate: an audit that meets a condition fails, and so does its pipeline.

One or both ends of a figure's interval are compared with a condition's limit, so that a model with
too few records does not count as safe.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from selena.auditing.conditions import Condition
from selena.auditing.figure import tpr_metric
from selena.auditing.report import Accuracy, AuditReport
from selena.errors import ConfigError, unknown_name
from selena.metrics.intervals import Interval, difference_interval, wilson

Bound = Literal["both", "upper", "lower", "point"]
"""What is compared with the limit. The names are for conditions with `>`; with `<` ends swap.

- "both": fails if the whole interval is beyond the limit, passes if none of it is, and is
  unresolved otherwise.
- "upper": strict; fails unless the value was shown to be within the limit.
- "lower": lenient; fails only if the value was shown to be beyond the limit.
- "point": the value itself, regardless of the number of records.
"""

Outcome = Literal["passes", "unresolved", "fails"]

EXIT_CODES: dict[Outcome, int] = {"passes": 0, "unresolved": 2, "fails": 3}
"""Exit codes of a command; the highest of several verdicts counts."""

_FIGURES = {"advantage": "advantage", "accuracy": "balanced_accuracy", "auc": "auc"}
_CONFIDENCE = 0.95


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
        source: the attack or model: "direct attack neural/global", or "target model".
        value: the figure.
        interval: its interval; see `judge` for the confidence.
        n: number of records, by kind.
        needed_non_members: the fewest non-members that resolve the false-positive rate, if too
            few were scored; otherwise None. The interval is correct in both cases.
    """

    source: str
    value: float
    interval: Interval
    n: dict[str, int]
    needed_non_members: int | None = None


@dataclass(frozen=True)
class ConditionResult:
    """The verdict on a condition.

    Attributes:
        condition: the condition.
        bound: what was compared with its limit.
        measured: the figure.
        subject: name of the judged audit, if there are several; may be empty.
        inputs: hashes of the records and the model, and the version of selena that judged them.
    """

    condition: Condition
    bound: Bound
    measured: Measurement
    subject: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """Whether the gate fails, passes, or cannot be resolved with these records."""
        if self._point_of_few:
            return "unresolved"
        met = self.condition.met_by
        if self.bound == "both":
            if met(self._lenient_end):
                return "fails"
            return "unresolved" if met(self._strict_end) else "passes"
        return "fails" if met(self._compared) else "passes"

    @property
    def reason(self) -> str:
        """The reason, in plain words."""
        if self._point_of_few:
            return self._few
        if self.outcome == "unresolved":
            settle = self._few if self._is_few else self._records_that_settle
            return f"the limit lies within the interval; {settle}"
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
            "inputs": dict(self.inputs),
        }

    @property
    def _is_few(self) -> bool:
        return self.measured.needed_non_members is not None

    @property
    def _point_of_few(self) -> bool:
        """Whether a value from too few records would be judged without its interval."""
        return self._is_few and self.bound == "point"

    @property
    def _few(self) -> str:
        return (
            f"{self.measured.n['non_members']:,} non-members are too few for a FPR of "
            f"{self.condition.fpr:g}; {self.measured.needed_non_members:,} resolve it"
        )

    @property
    def _lenient_end(self) -> float:
        """The end of the interval that is farthest from failing."""
        return self.measured.interval[0 if self.condition.upwards else 1]

    @property
    def _strict_end(self) -> float:
        """The end of the interval that is nearest to failing."""
        return self.measured.interval[1 if self.condition.upwards else 0]

    @property
    def _compared(self) -> float:
        """The number that decided: the compared one, or with "both" the decisive end."""
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
        """The number of records that would resolve it, since widths fall as 1 / sqrt(n)."""
        value, limit = self.measured.value, self.condition.limit
        end = self._lenient_end if self.condition.met_by(value) else self._strict_end
        if abs(end - value) > 10 * abs(limit - value):
            return "the value is too near to it for any realistic number of records"
        times = ((end - value) / (limit - value)) ** 2
        return f"about {times:.1f} times the records would settle it if the value stays"


def judge(
    report: AuditReport,
    conditions: Iterable[Condition],
    bound: Bound = "both",
    *,
    subject: str = "",
    audits: int = 1,
) -> list[ConditionResult]:
    """Judge an audit by `conditions`; return one verdict per condition, in their order.

    The figure of a condition is that of the best attack (of all families) in it on known records.
    Intervals have 95 % confidence for all conditions of all audits together. So on a model that
    leaks nothing, conditions with `>` fail wrongly in at most 2.5 % of the cases.

    Args:
        report: an audit.
        conditions: conditions under which the gate fails.
        bound: what is compared with the limits.
        subject: a name for the audit, if there are several.
        audits: number of audits that are judged by these conditions.

    Raises:
        ConfigError: no report, or a report without a figure of a condition.
    """
    if not isinstance(report, AuditReport):
        raise ConfigError(
            f"judge takes an AuditReport, not a {type(report).__name__}, because figures in a file "
            "are not trusted. Use RunFolder(path).report(), or AuditReport.load(path)."
        )
    conditions = list(conditions)
    comparisons = len(conditions) * audits
    return [
        ConditionResult(
            condition, bound, _measure(report, condition, comparisons), subject, report.inputs
        )
        for condition in conditions
    ]


def exit_code(verdicts: Sequence[ConditionResult]) -> int:
    """Return 3 if a condition fails, else 2 if one is unresolved, else 0."""
    return max((EXIT_CODES[verdict.outcome] for verdict in verdicts), default=0)


def _measure(report: AuditReport, condition: Condition, comparisons: int) -> Measurement:
    if condition.metric == "gap":
        return _gap(report, comparisons)
    if condition.metric in ("train_accuracy", "test_accuracy"):
        accuracy: Accuracy = getattr(report, condition.metric)
        interval = wilson(accuracy.value, accuracy.trials, comparisons=comparisons)
        if comparisons == 1:
            interval = accuracy.interval
        return Measurement("target model", accuracy.value, interval, {"records": accuracy.n})
    if not report.attacks:
        raise ConfigError(f"{condition} is about an attack, and the report holds none. Run one.")
    fpr = condition.fpr
    metric = _FIGURES[condition.metric] if fpr is None else tpr_metric(fpr)
    figure = report.figure(metric, confidence=1 - (1 - _CONFIDENCE) / comparisons)
    return Measurement(
        f"{figure.family} attack {figure.attack}",
        figure.value,
        figure.interval,
        {"members": figure.members, "non_members": figure.non_members},
        None if figure.resolved else figure.needed_non_members,
    )


def _gap(report: AuditReport, comparisons: int) -> Measurement:
    """Return train minus test accuracy with Newcombe's interval of a difference."""
    train, test = report.train_accuracy, report.test_accuracy
    return Measurement(
        "target model",
        train.value - test.value,
        difference_interval(
            train.value, train.trials, test.value, test.trials, comparisons=comparisons
        ),
        {"train": train.n, "test": test.n},
    )
