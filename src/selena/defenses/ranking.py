"""Sorts predictions by size, for filters that change values and keep their order."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def sort_ascending(logits: Float[Tensor, "n c"]) -> tuple[Float[Tensor, "n c"], Int[Tensor, "n c"]]:
    """Return each row in ascending order, and the class of each place.

    The predicted class (the first of tied ones) is last.
    """
    values, places = logits.flip(1).sort(dim=1, stable=True)
    return values, logits.shape[1] - 1 - places


def unsort(values: Float[Tensor, "n c"], order: Int[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """Put sorted values back in the order of classes; the inverse of `sort_ascending`."""
    return values.new_empty(values.shape).scatter_(1, order, values)


def keep_argmax(log_p: Float[Tensor, "n c"], labels: Int[Tensor, " n"]) -> Float[Tensor, "n c"]:
    """Return `log_p` with each label as the largest, even where rounding has made a tie."""
    lost = log_p.argmax(dim=1) != labels
    top = log_p.amax(dim=1, keepdim=True)
    above = top.nextafter(torch.full_like(top, torch.inf))
    return torch.where(lost[:, None], log_p.scatter(1, labels[:, None], above), log_p)
