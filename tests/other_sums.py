"""Runs tests on a processor that adds up in another order: `pytest -p tests.other_sums`.

Every product of matrices is computed in two parts, cut where its shape and `SELENA_TEST_SUMS` say,
and added up. Such sums differ from this processor's in their last bits and, as on any processor,
they are the same for the same shape. So it stands for processors that are not at hand.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from random import Random
from typing import Any

import torch
from torch import Tensor

_SEED = os.environ.get("SELENA_TEST_SUMS", "1")


def _cut(a: Tensor, b: Tensor) -> int:
    """Return after how many terms a sum of the product of `a` and `b` is cut; 0 for not at all."""
    terms = a.shape[-1]
    # Sums of bf16 are added up in float32 everywhere, and rounded once.
    if terms < 2 or a.dtype not in (torch.float32, torch.float64):
        return 0
    return Random(f"{_SEED} {tuple(a.shape)} {tuple(b.shape)}").randrange(1, terms)


def _added(add: Callable[..., Tensor], total: Tensor, a: Tensor, b: Tensor, **how: Any) -> Tensor:
    """Return what `add` (torch.addmm or torch.baddbmm) gives, in two parts.

    With `out=` PyTorch takes a kernel of another name, which is not replaced.
    """
    first = _cut(a, b)
    shape = (*a.shape[:-1], b.shape[-1])
    rest = add(total, a[..., first:], b[..., first:, :], **how, out=a.new_empty(shape))
    if not first:
        return rest
    alpha = how.get("alpha", 1)
    more = a[..., :first], b[..., :first, :]
    return add(rest, *more, alpha=alpha, out=a.new_empty(shape))


def _addmm(total: Tensor, a: Tensor, b: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    return _added(torch.addmm, total, a, b, beta=beta, alpha=alpha)


def _baddbmm(total: Tensor, a: Tensor, b: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    return _added(torch.baddbmm, total, a, b, beta=beta, alpha=alpha)


def _mm(a: Tensor, b: Tensor) -> Tensor:
    return _added(torch.addmm, a.new_zeros(()), a, b, beta=0)


def _bmm(a: Tensor, b: Tensor) -> Tensor:
    return _added(torch.baddbmm, a.new_zeros(()), a, b, beta=0)


_LIBRARY = torch.library.Library("aten", "IMPL")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that something is replaced
    for _name, _function in (
        ("addmm", _addmm),
        ("baddbmm", _baddbmm),
        ("mm", _mm),
        ("bmm", _bmm),
    ):
        _LIBRARY.impl(_name, _function, "CPU")
