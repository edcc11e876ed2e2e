"""Signals: what one prediction says about the membership of a record.

Each maps logits (or log-probabilities) and labels to one float64 score a record; higher means
member. Computed from logits, they keep telling records apart where probabilities round to 0 or
1. None depends on the order in which the classes are listed: what is summed over classes is
sorted first, so that equal predictions give exactly equal scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.special import log_expit, logsumexp
from torch import Tensor

from selena.errors import DataError

SignalName = Literal["correctness", "confidence", "entropy", "modified_entropy"]
"""The signals by name."""

Signal = Callable[[Float[Tensor, "n c"], Int[Tensor, " n"]], Float[Tensor, " n"]]
"""Maps logits and labels to scores, float64 on the CPU."""

Array = Float[np.ndarray, "..."]


def correctness(logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return 1 where the prediction is the label, else 0 (of tied classes the first is predicted).

    Yeom et al. 2018, the gap attack.

    Raises:
        DataError: logits that are no prediction, or a label out of range.
    """
    z, y = _checked(logits, labels)
    return torch.from_numpy(z.argmax(axis=1) == y).double()


def confidence(logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return the log-odds log p_y - log(1 - p_y) of the label's probability.

    It ranks as p_y does (Yeom et al. 2018; Song & Mittal 2021) and gives the same decisions,
    since thresholds are observed scores; but p_y itself, and its logarithm, round together near
    1, where members are. It is infinite where p_y is exactly 0 or 1.

    Raises:
        DataError: logits that are no prediction, or a label out of range.
    """
    of_label, others = _apart(*_checked(logits, labels))
    return torch.from_numpy(of_label - logsumexp(others, axis=1))


def entropy(logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return the negative entropy, sum over j of p_j log p_j, in [-log c, 0] (Salem et al. 2019).

    Raises:
        DataError: logits that are no prediction, or a label out of range.
    """
    falling = _falling(_checked(logits, labels)[0])
    # The first is 0; log1p keeps what a sum that begins with exp(0) would round away.
    log_p = falling - np.log1p(np.exp(falling[:, 1:]).sum(axis=1, keepdims=True))
    return torch.from_numpy(_weighted(np.exp(log_p), log_p).sum(axis=1))


def modified_entropy(
    logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """Return (1 - p_y) log p_y + sum over j != y of p_j log(1 - p_j), at most 0.

    The negative of the modified entropy (Song & Mittal 2021, equation 8): unlike the entropy, a
    confident wrong prediction scores low. It is -inf where p_y is exactly 0.

    Raises:
        DataError: logits that are no prediction, or a label out of range.
    """
    of_label, others = _apart(*_checked(logits, labels))
    log_others = logsumexp(others, axis=1)
    odds = of_label - log_others
    # Of the other classes only the likeliest can come near 1, where 1 - p would cancel: its odds
    # are taken against everything else.
    rest = np.column_stack([of_label, others[:, 1:]])
    likeliest = others[:, 0] - logsumexp(rest, axis=1)
    unlikely = np.exp(others[:, 1:] - np.logaddexp(of_label, log_others)[:, None])
    return torch.from_numpy(
        _weighted(np.exp(log_expit(-odds)), log_expit(odds))
        + _weighted(np.exp(log_expit(likeliest)), log_expit(-likeliest))
        + (unlikely * np.log1p(-unlikely)).sum(axis=1)
    )


SIGNALS: Mapping[SignalName, Signal] = MappingProxyType(
    {
        "correctness": correctness,
        "confidence": confidence,
        "entropy": entropy,
        "modified_entropy": modified_entropy,
    }
)
"""Every signal by its name."""


def _weighted(weight: Array, value: Array) -> Array:
    """Return weight * value with 0 * inf = 0, the limit of p log p."""
    product: Array = np.multiply(weight, value, where=weight > 0, out=np.zeros_like(value))
    return product


def _falling(z: Array) -> Array:
    return np.sort(z, axis=1)[:, ::-1].copy()


def _apart(z: Array, y: Int[np.ndarray, " n"]) -> tuple[Array, Array]:
    """Return the label's logit, and those of the other classes, falling."""
    rows = np.arange(len(y))
    others = z.copy()
    others[rows, y] = -np.inf
    return z[rows, y], _falling(others)[:, :-1]


def _checked(
    logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"]
) -> tuple[Array, Int[np.ndarray, " n"]]:
    """Return logits (float64, at most 0) and labels if all are predictions over known classes.

    NumPy from here on: PyTorch computes the end of an array by other instructions than its
    bulk, so that equal predictions could differ in the last digit by their place in it.
    """
    z, y = logits.detach().cpu().double().numpy(), labels.cpu().numpy()
    if z.shape[1] < 2:
        raise DataError(f"Predictions over {z.shape[1]} classes tell nothing; at least 2 needed.")
    bad = np.isnan(z).any(axis=1) | np.isposinf(z).any(axis=1) | np.isneginf(z).all(axis=1)
    if bad.any():
        raise DataError(
            f"{int(bad.sum())} predictions are not finite, the first is that of record "
            f"{int(bad.argmax())}. A target model must answer with logits or logarithms of "
            "probabilities (-inf for a probability of 0)."
        )
    outside = (y < 0) | (y >= z.shape[1])
    if outside.any():
        row = int(outside.argmax())
        raise DataError(
            f"Label {int(y[row])} of record {row} is out of range; the predictions have "
            f"{z.shape[1]} classes."
        )
    # Logits that differ by a constant are one prediction: equal ones must stay equal to the bit.
    return z - z.max(axis=1, keepdims=True), y
