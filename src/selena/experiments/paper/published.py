"""Table 2 of the paper (Tang et al., USENIX Security 2022), in percent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Published:
    """One line of the table, in percent; an attack's figure is its balanced accuracy.

    Attributes:
        train_accuracy: on the training set.
        test_accuracy: on test non-members.
        direct: best direct single-query attack.
        label_only: best label-only attack.
        adaptive: best adaptive attack; None where the paper has none.
        best: best attack of all.
        exact: names of the figures that the authors' code also states. All others are
            approximate: they may be off in the last digit.
    """

    train_accuracy: float
    test_accuracy: float
    direct: float
    label_only: float
    adaptive: float | None
    best: float
    exact: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the existing figures, each marked as exact or approximate."""
        names = ("train_accuracy", "test_accuracy", "direct", "label_only", "adaptive", "best")
        return {
            name: {"percent": getattr(self, name), "approximate": name not in self.exact}
            for name in names
            if getattr(self, name) is not None
        }


_EXACT = ("test_accuracy", "best")

TABLE_2: dict[str, dict[str, Published]] = {
    "purchase100": {
        "undefended": Published(99.98, 83.2, 67.3, 65.8, None, 67.3),
        "memguard": Published(99.98, 83.2, 58.7, 65.8, None, 65.8),
        "adversarial_regularization": Published(91.9, 78.5, 57.3, 57.4, None, 57.4),
        "selena": Published(82.7, 79.3, 53.3, 53.2, 54.3, 54.3, _EXACT),
    },
    "texas100": {
        "undefended": Published(79.3, 52.3, 66.0, 64.7, None, 66.0),
        "memguard": Published(79.3, 52.3, 63.0, 64.7, None, 64.7),
        "adversarial_regularization": Published(55.8, 45.6, 60.5, 56.6, None, 60.5),
        "selena": Published(58.8, 52.6, 54.8, 54.9, 55.1, 55.1, _EXACT),
    },
    "cifar100": {
        "undefended": Published(99.98, 77.0, 74.8, 69.9, None, 74.8),
        "memguard": Published(99.98, 77.0, 68.7, 69.9, None, 69.9),
        "adversarial_regularization": Published(86.9, 71.5, 58.6, 59.0, None, 59.0),
        "selena": Published(78.1, 74.6, 55.1, 54.0, 58.3, 58.3, _EXACT),
    },
}
"""Data set -> defense -> its line."""


def published(dataset: str) -> dict[str, Published]:
    """Return the lines of a data set, by defense; empty if the paper has none.

    A synthetic stand-in gets the lines of the real set, which outputs must say.
    """
    return TABLE_2.get(real_name(dataset), {})


def real_name(dataset: str) -> str:
    """Return the data set that a synthetic one stands in for, or its own name."""
    return dataset.removesuffix("-synthetic")
