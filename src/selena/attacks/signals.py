"""Signals: numbers computed from one prediction that indicate membership.

Each maps logits (or log-probabilities) and labels to one float64 score per record; higher means
member. Logits distinguish records even where probabilities round to 0 or 1. No signal depends on
the order of the classes: terms are sorted before they are summed, so that equal predictions give
exactly equal scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
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

_Rule = Callable[[Array, Int[np.ndarray, " n"]], Array]

# Numbers converted to float64 at once; signals work on copies of this size.
_CHUNK = 1 << 19


def correctness(logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return 1 if the prediction is the label, else 0 (the first of tied classes is predicted).

    Yeom et al. 2018, the gap attack.

    Raises:
        DataError: logits that are no prediction, or a label out of range.
    """
    return _by_chunks(lambda z, y: (z.argmax(axis=1) == y).astype(np.float64), logits, labels)


def confidence(logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return the log-odds log p_y - log(1 - p_y) of the label's probability.

    It ranks records like p_y (Yeom et al. 2018; Song & Mittal 2021) and gives the same decisions,
    since thresholds are observed scores. But p_y and its logarithm round to equal numbers near 1,
    where members are. It is infinite if p_y is exactly 0 or 1.

    Raises:
        DataError: logits that are no prediction, or a label out of range.
    """
    return _by_chunks(_confidence, logits, labels)


def _confidence(z: Array, y: Int[np.ndarray, " n"]) -> Array:
    of_label, others = _apart(z, y)
    log_odds: Array = of_label - logsumexp(others, axis=1)
    return log_odds


def entropy(logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return the negative entropy, sum over j of p_j log p_j, in [-log c, 0] (Salem et al. 2019).

    Raises:
        DataError: logits that are no prediction, or a label out of range.
    """
    return _by_chunks(_entropy, logits, labels)


def _entropy(z: Array, y: Int[np.ndarray, " n"]) -> Array:
    falling = _falling(z)
    # The largest is 0; log1p keeps digits that a sum starting with exp(0) = 1 would lose.
    log_p = falling - np.log1p(np.exp(falling[:, 1:]).sum(axis=1, keepdims=True))
    total: Array = _weighted(np.exp(log_p), log_p).sum(axis=1)
    return total


def modified_entropy(
    logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """Return (1 - p_y) log p_y + sum over j != y of p_j log(1 - p_j), at most 0.

    This is the negative modified entropy (Song & Mittal 2021, equation 8). Unlike with entropy, a
    confident wrong prediction scores low. It is -inf if p_y is exactly 0.

    Raises:
        DataError: logits that are no prediction, or a label out of range.
    """
    return _by_chunks(_modified_entropy, logits, labels)


def _modified_entropy(z: Array, y: Int[np.ndarray, " n"]) -> Array:
    of_label, others = _apart(z, y)
    log_others = logsumexp(others, axis=1)
    odds = of_label - log_others
    # Only the likeliest other class can be near 1, where 1 - p would lose all digits. So its
    # log-odds are computed from the sum of all other probabilities.
    rest = np.column_stack([of_label, others[:, 1:]])
    likeliest = others[:, 0] - logsumexp(rest, axis=1)
    unlikely = np.exp(others[:, 1:] - np.logaddexp(of_label, log_others)[:, None])
    total: Array = (
        _weighted(np.exp(log_expit(-odds)), log_expit(odds))
        + _weighted(np.exp(log_expit(likeliest)), log_expit(-likeliest))
        + (unlikely * np.log1p(-unlikely)).sum(axis=1)
    )
    return total


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
    """Return the label's logit, and those of the other classes in descending order."""
    rows = np.arange(len(y))
    others = z.copy()
    others[rows, y] = -np.inf
    return z[rows, y], _falling(others)[:, :-1]


def _by_chunks(
    rule: _Rule, logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """Return the scores by `rule`, which gets logits (float64, at most 0) and labels.

    It uses NumPy, because PyTorch computes the end of an array with other instructions than the
    rest. Equal predictions could then differ in the last digit.

    Raises:
        DataError: logits that are no prediction, or a label out of range.
    """
    n, classes = logits.shape
    if classes < 2:
        raise DataError(f"Predictions have {classes} classes; at least 2 are needed.")
    scores = np.empty(n)
    bad, outside = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    size = max(1, _CHUNK // classes)

    def measure(start: int) -> None:
        part = slice(start, start + size)
        z, y = logits[part].detach().cpu().double().numpy(), labels[part].cpu().numpy()
        highest = z.max(axis=1, keepdims=True)  # NaN where one is, -inf where all are
        bad[part] = ~np.isfinite(highest[:, 0])
        outside[part] = (y < 0) | (y >= classes)
        if not (bad[part].any() or outside[part].any()):
            # Logits that differ by a constant are one prediction: equal ones must stay equal to
            # the bit.
            scores[part] = rule(z - highest, y)

    # NumPy lets other threads run while it computes; no chunk depends on another.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(measure, range(0, n, size)))
    if bad.any():
        raise DataError(
            f"{int(bad.sum())} predictions are not finite, the first is that of record "
            f"{int(bad.argmax())}. A target model must answer with logits or logarithms of "
            "probabilities (-inf for a probability of 0)."
        )
    if outside.any():
        row = int(outside.argmax())
        raise DataError(
            f"Label {int(labels[row])} of record {row} is out of range; the predictions have "
            f"{classes} classes."
        )
    return torch.from_numpy(scores)
