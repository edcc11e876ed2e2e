"""A figure of a report: a value, its interval, and its attack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from selena.errors import ConfigError
from selena.files.escaping import shorten
from selena.metrics.intervals import Interval
from selena.metrics.summary import LOW_FPRS

TPR_AT_FPR = "tpr@fpr="
EPSILON = "epsilon"
DECISION_METRICS = ("balanced_accuracy", "advantage")
"""Metrics of an attack's decisions; all others measure its ranking and need no threshold."""


def tpr_metric(fpr: float) -> str:
    """Return the name of the TPR at `fpr`: "tpr@fpr=0.01"."""
    return f"{TPR_AT_FPR}{float(fpr)!r}"


def fpr_of(metric: str) -> float | None:
    """Return the FPR of "tpr@fpr=0.01", None for other metrics.

    Raises:
        ConfigError: what follows "tpr@fpr=" is no number.
    """
    if not metric.startswith(TPR_AT_FPR):
        return None
    try:
        return float(metric.removeprefix(TPR_AT_FPR))
    except ValueError as error:
        raise ConfigError(f"{metric!r} names no FPR. Write it as {tpr_metric(0.01)!r}.") from error


METRICS = (*DECISION_METRICS, "auc", *map(tpr_metric, LOW_FPRS))
"""Metrics of every report; reports with canaries also have "epsilon"."""


def chance(metric: str) -> float:
    """Return the value that guessing achieves.

    Raises:
        ConfigError: an unknown metric.
    """
    fpr = fpr_of(metric)
    if fpr is not None:
        return fpr
    found = {"balanced_accuracy": 0.5, "advantage": 0.0, "auc": 0.5, EPSILON: 0.0}
    if metric not in found:
        raise ConfigError(f"{metric!r} is no metric; known are {', '.join([*METRICS, EPSILON])}.")
    return found[metric]


@dataclass(frozen=True)
class Figure:
    """One figure on evaluation records, for the best attack in it on known records.

    Attributes:
        metric: "balanced_accuracy", "advantage", "auc", "tpr@fpr=X" or "epsilon".
        value: the figure.
        interval: its 95 % interval; for "epsilon" from the bound to infinity.
        attack: "NAME/global" or "NAME/per_class" for figures of decisions, else "NAME".
        family: the attack's family.
        access: what the attack asked for: "label", "logits" or "gradient".
        queries_per_record: its queries per record.
        members, non_members: number of records (or subjects) scored.
        known_value: the same metric on known records, by which the attack was chosen.
        ties: other attacks that known records cannot distinguish from this one, since their
            one-sigma interval there reaches its value.
        resolved: for a TPR, whether enough false positives are allowed; else True.
        needed_non_members: for a TPR, the fewest non-members that resolve it; else 0.
    """

    metric: str
    value: float
    interval: Interval
    attack: str
    family: str
    access: str
    queries_per_record: float
    members: int
    non_members: int
    known_value: float | None = None
    ties: tuple[str, ...] = ()
    resolved: bool = True
    needed_non_members: int = 0

    def __repr__(self) -> str:
        low, high = self.interval
        return (
            f"Figure({self.metric}={self.value:.4g}, interval=({low:.4g}, {high:.4g}), "
            f"attack={shorten(self.attack, 60)!r})"
        )

    @property
    def name(self) -> str:
        """The attack's name without the kind of threshold; a name may contain a slash."""
        return self.attack.rpartition("/")[0] if self.metric in DECISION_METRICS else self.attack

    @property
    def above_chance(self) -> bool:
        """Whether the whole interval is above guessing."""
        return self.interval[0] > chance(self.metric)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; an infinite end is None."""
        low, high = self.interval
        interval = [low, None if high == float("inf") else high]
        return {**asdict(self), "interval": interval, "ties": list(self.ties)}

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> Figure:
        """Return the figure that `to_json` wrote."""
        low, high = read["interval"]
        interval = (low, float("inf") if high is None else high)
        return cls(**{**read, "interval": interval, "ties": tuple(read["ties"])})


def figures_of(audit: Mapping[str, Any], family: str | None = None) -> dict[str, Figure]:
    """Return the figures in the JSON of an audit, by metric, over all families or of one."""
    found = audit["figures"] if family is None else audit["families"][family]["figures"]
    return {metric: Figure.from_json(each) for metric, each in found.items()}
