"""Conditions on an audit: METRIC OPERATOR LIMIT, such as `advantage>0.10` or `tpr@fpr=1%>=5%`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from selena.errors import ConfigError, unknown_name

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
TPR_AT_FPR = "tpr@fpr="
_RANGES = {
    "advantage": (-1.0, 1.0),
    "accuracy": (0.0, 1.0),
    "auc": (0.0, 1.0),
    TPR_AT_FPR: (0.0, 1.0),
    "test_accuracy": (0.0, 1.0),
    "train_accuracy": (0.0, 1.0),
    "gap": (-1.0, 1.0),
}
METRICS = (*(name for name in _RANGES if name != TPR_AT_FPR), f"{TPR_AT_FPR}X")
"""Metrics of conditions; X is any false-positive rate in (0, 1]."""

_PARTS = re.compile(r"\s*(?P<metric>[^<>]*?)\s*(?P<operator>[<>]=?)\s*(?P<limit>[^<>]*?)\s*")
_NUMBER = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:[eE]([+-]?[0-9]{1,3}))?\s*(%?)")


@dataclass(frozen=True)
class Condition:
    """A condition under which the gate fails: METRIC OPERATOR LIMIT.

    Attributes:
        metric: "advantage", "accuracy" (the attack's balanced one), "auc" or "tpr@fpr=" of the
            best attack; "train_accuracy", "test_accuracy" or "gap" (train minus test) of the
            target model.
        operator: ">", ">=", "<" or "<=".
        limit: a share; 0.1 is 10 %.
        fpr: for "tpr@fpr=", the false-positive rate in (0, 1].

    Raises:
        ConfigError: an unknown metric, or a limit that the metric can never cross.
    """

    metric: str
    operator: str
    limit: float
    fpr: float | None = None

    def __post_init__(self) -> None:
        if self.metric not in _RANGES:
            raise unknown_name("metric", self.metric, METRICS)
        if self.operator not in _COMPARE:
            raise unknown_name("operator", self.operator, _COMPARE)
        if (self.fpr is None) == (self.metric == TPR_AT_FPR):
            raise ConfigError(
                f"{self}: {TPR_AT_FPR} needs a false-positive rate, others take none."
            )
        if self.fpr is not None and not 0 < self.fpr <= 1:
            raise ConfigError(f"{self}: a false-positive rate lies in (0, 1].")
        low, high = _RANGES[self.metric]
        extreme = high if self.upwards else low
        if not (low <= self.limit <= high and self.met_by(extreme)):
            raise ConfigError(
                f"{self} is true always or never: {self.metric.rstrip('=')} lies between "
                f"{low:g} and {high:g}. Limits are shares: write 0.1 or 10%."
            )

    def __str__(self) -> str:
        fpr = "" if self.fpr is None else repr(self.fpr)
        return f"{self.metric}{fpr}{self.operator}{self.limit!r}"

    @property
    def upwards(self) -> bool:
        """Whether high values fail."""
        return self.operator.startswith(">")

    def met_by(self, value: float) -> bool:
        """Return whether `value` is beyond the limit."""
        return _COMPARE[self.operator](value, self.limit)


def parse_condition(text: str) -> Condition:
    """Read a condition such as `advantage>0.10` or `tpr@fpr=1% >= 5%`; `str` writes it back.

    Raises:
        ConfigError: `text` is no condition, names an unknown metric (the nearest known one is
            named), or can never be met.
    """
    parts = _PARTS.fullmatch(text)
    if parts is None:
        raise ConfigError(
            f"{text!r} is no condition. Write METRIC OPERATOR NUMBER in quotes (a shell redirects "
            f"at >), as 'advantage>0.10'. Operators: {', '.join(_COMPARE)}; metrics: "
            f"{', '.join(METRICS)}."
        )
    name, fpr = parts["metric"], None
    if name.startswith(TPR_AT_FPR):
        name, fpr = TPR_AT_FPR, _number(name.removeprefix(TPR_AT_FPR), text)
    elif name not in _RANGES:
        raise unknown_name("metric", name, METRICS)
    return Condition(name, parts["operator"], _number(parts["limit"], text), fpr)


def _number(digits: str, text: str) -> float:
    """Return a number, or a percentage as the nearest float of its share."""
    found = _NUMBER.fullmatch(digits.strip())
    if found is None:
        raise ConfigError(f"{digits!r} in {text!r} is no number. Write a share or a percentage.")
    mantissa, exponent, percent = found.groups()
    return float(f"{mantissa}e{int(exponent or 0) - (2 if percent else 0)}")
