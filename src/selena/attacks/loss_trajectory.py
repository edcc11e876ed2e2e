"""Finds the most exposed members by their losses in one training; no model is retrained.

LT-IQR: Pollock et al., "Free Record-Level Privacy Risk Evaluation Through Artifact-Based Methods",
USENIX Security 2025. The loss of a record that the model must memorize falls from high to low. The
loss of an easy record, and of one that is never learned, changes little. So the distance between
the quartiles of a record's losses over the epochs,

    score(x) = Q_0.75(loss_1(x), ..., loss_T(x)) - Q_0.25(loss_1(x), ..., loss_T(x)),

ranks members by how well reference-model attacks would find them. It is a tool for those who train
the model, not an attack: an attacker does not know the losses during training, and the score does
not tell members from non-members. `selena.metrics.precision_at_k` compares it with the members that
an attack finds.

Cost: one prediction of the members per epoch of the model's own training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64
from torch import Tensor

from selena.errors import ConfigError, DataError

_FEWEST_EPOCHS = 4  # quartiles need four values


def lt_iqr_scores(
    losses: Any, *, low: float = 0.25, high: float = 0.75
) -> Float64[np.ndarray, " n"]:
    """Return the interquartile range of each record's losses over one training.

    Args:
        losses: epochs x n, the loss of each record after each epoch, in nats. `selena.LossTrace`
            records them.
        low: the lower quantile, in [0, 1).
        high: the upper quantile, in (low, 1].

    Returns:
        n scores >= 0, float64; higher = more exposed.

    Raises:
        DataError: `losses` is no epochs x n array of finite numbers with at least 4 epochs.
        ConfigError: quantiles out of order.
    """
    if not 0 <= low < high <= 1:
        raise ConfigError(f"The quantiles are {low} and {high}; they need 0 <= low < high <= 1.")
    given = np.asarray(losses.detach().cpu() if isinstance(losses, Tensor) else losses)
    if given.ndim != 2 or len(given) < _FEWEST_EPOCHS or given.shape[1] == 0:
        raise DataError(
            f"The losses have shape {given.shape}; a trace has epochs x n, at least "
            f"{_FEWEST_EPOCHS} epochs. Record one in training (selena.LossTrace): a finished model "
            "has none."
        )
    traces = given.astype(np.float64)
    broken = np.flatnonzero(~np.isfinite(traces).all(axis=0))
    if len(broken):
        raise DataError(
            f"{len(broken)} records have losses that are not finite, the first is record "
            f"{int(broken[0])}. Compute losses from logits, where they stay finite."
        )
    below, above = np.quantile(traces, [low, high], axis=0)
    spread: Float64[np.ndarray, " n"] = above - below
    return spread
