"""Models that remember their members exactly, and records for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from selena.auditing.report import AuditReport
from selena.models import audit

CLASSES, FEATURES = 3, 12

Pair = tuple[Any, Any]


def sides(n: int = 200, *, classes: int = CLASSES, seed: int = 0) -> tuple[Pair, Pair]:
    """Return n members and n non-members: unit vectors with labels that say nothing."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(2 * n, FEATURES)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = draw.integers(0, classes, 2 * n)
    return (x[:n], y[:n]), (x[n:], y[n:])


def remembering(members: Pair, *, classes: int = CLASSES) -> nn.Sequential:
    """Return a network that answers each member by its label, surely, and others by nothing.

    A hidden unit a member: 2000 (x . member) - 1990 is positive for that member only, and there
    so large that no rounding shows.
    """
    x, y = members
    first, second = nn.Linear(x.shape[1], len(x)), nn.Linear(len(x), classes)
    with torch.no_grad():
        first.weight.copy_(2000 * torch.from_numpy(np.asarray(x)))
        first.bias.fill_(-1990.0)
        second.weight.copy_(4 * nn.functional.one_hot(torch.from_numpy(y), classes).T)
        second.bias.zero_()
    return nn.Sequential(first, nn.ReLU6(), second)


def forgetting(*, classes: int = CLASSES) -> nn.Module:
    """Return a network that never saw a record."""
    torch.manual_seed(1)
    return nn.Linear(FEATURES, classes)


def probabilities(network: nn.Module, x: Any) -> np.ndarray:
    """Return what a function around `network` answers."""
    with torch.no_grad():
        answers: np.ndarray = network(torch.from_numpy(x)).double().softmax(dim=1).numpy()
    return answers


def quick(model: Any, *sides: Any, **settings: Any) -> AuditReport:
    """Audit by two attacks that train nothing; no FPR matters, so none is warned of."""
    attacks = ("correctness", "confidence")
    return audit(model, *sides, **{"attacks": attacks, "fpr": 1.0, **settings})
