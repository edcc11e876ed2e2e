"""Reads a model's answers as logits, or raises an error that says what they look like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from selena.data.checks import are_probabilities
from selena.errors import ConfigError, DataError

Output = Literal["logits", "probabilities"]
"""What a model's numbers are."""

Numbers = Float64[np.ndarray, "n w"]


@dataclass(frozen=True)
class OutputFormat:
    """How answers become logits.

    Attributes:
        output: what the numbers are.
        columns: numbers per record; a single one is about class 1 of two.
        any_sum: whether rows of probabilities may have any sum above 0. Each row is divided by it.
    """

    output: Output
    columns: int
    any_sum: bool = False

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return max(self.columns, 2)

    def logits(self, values: Float[Tensor, "n w"]) -> Float[Tensor, "n c"]:
        """Return logits, or logarithms of probabilities (-inf for 0).

        Rows that do not sum to 1 need no division here: softmax normalises them.
        """
        if self.columns == 1:
            rest = 1 - values if self.output == "probabilities" else torch.zeros_like(values)
            values = torch.cat([rest, values], dim=1)
        return values.log() if self.output == "probabilities" else values

    def check(self, values: Numbers, name: Callable[[int], str]) -> None:
        """Raise `DataError` unless `values` are what `output` says; `name` names a row."""
        if values.shape[1] != self.columns:
            raise DataError(
                f"The model answered with {values.shape[1]} columns, and with {self.columns} "
                "before. It must answer every query with one number per class."
            )
        if self.output == "logits":
            bad = np.isnan(values) | np.isposinf(values)
            broken = np.flatnonzero(bad.any(axis=1) | np.isneginf(values).all(axis=1))
        else:
            broken = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(broken):
            raise DataError(
                f"The model's answers to {len(broken)} records are not finite, the first is that "
                f"to {name(int(broken[0]))}: {_shown(values[broken[0]])}."
            )
        fits = are_probabilities(values)
        if self.any_sum and self.columns > 1:
            fits = (values >= 0).all(axis=1) & (values.sum(axis=1) > 0)
        off = np.flatnonzero(~fits)
        if self.output == "probabilities" and len(off):
            raise DataError(
                f"The model's answers to {len(off)} records are no probabilities, the first is "
                f"that to {name(int(off[0]))}: {_shown(values[off[0]])}. Each must be at least 0, "
                "and a row sum to 1. "
                + (
                    "If one model per class made them, divide each row by its sum; for "
                    "several labels per record use selena.audit_multilabel."
                    if ((values >= 0) & (values <= 1)).all()
                    else "These look like logits: pass output='logits' if they are."
                )
            )


def choose_format(
    values: Numbers,
    *,
    output: str,
    default: Output,
    num_classes: int | None,
    what: str,
    any_sum: bool = False,
) -> OutputFormat:
    """Return how `values` are to be read.

    Args:
        values: answers to all records, or to some of them.
        output: "logits", "probabilities", or "auto": "probabilities" if every row looks like
            them, else `default`.
        default: what this kind of model usually returns.
        num_classes: how many classes there are, where that is known.
        what: what messages call the model.
        any_sum: whether its probabilities may have any sum.

    Raises:
        DataError: another number of columns than classes.
    """
    columns = values.shape[1]
    classes = max(columns, 2)
    if num_classes not in (None, classes):
        raise DataError(
            f"{what} answers with {columns} numbers per record, which makes {classes} classes; "
            f"there are {num_classes}. Correct num_classes, or what the model returns."
        )
    if output == "auto":
        sure = bool(are_probabilities(values).all())
        return OutputFormat("probabilities" if sure else default, columns, any_sum)
    return OutputFormat("logits" if output == "logits" else "probabilities", columns, any_sum)


def check_output(output: str) -> None:
    """Raise `ConfigError` unless `output` is known."""
    if output not in ("auto", "logits", "probabilities"):
        raise ConfigError(f"output={output!r} is unknown; use auto, logits or probabilities.")


def as_numbers(answer: Any, n: int, what: str) -> Numbers:
    """Return what a model answered to `n` records as float64, n x columns.

    Raises:
        DataError: no array of one row per record.
    """
    try:
        raw = answer.detach().cpu().double() if isinstance(answer, Tensor) else answer
        values = np.asarray(raw, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{what} answered with a {type(answer).__qualname__}, not with an array. Wrap it in a "
            "function that returns n x classes probabilities or logits."
        ) from error
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or len(values) != n or values.shape[1] < 1:
        raise DataError(
            f"{what} answered {n} records with an array of shape {np.shape(raw)}. It must return "
            "one row per record and one column per class."
        )
    return values


def failure(what: str, records: Any, n: int, error: Exception, more: str = "") -> DataError:
    """Return the error for a model that failed on `n` records; `more` ends the message."""
    return DataError(
        f"{what} failed on {n} records in a {type(records).__qualname__} of shape "
        f"{tuple(getattr(records, 'shape', (n,)))}: {type(error).__name__}: {error}{more}"
    )


def _shown(row: np.ndarray) -> str:
    return (
        "["
        + ", ".join(f"{value:.4g}" for value in row[:6])
        + (", ..." if row[6:].size else "")
        + "]"
    )
