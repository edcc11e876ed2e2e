"""Networks: frozen descriptions that build an `nn.Module` when called."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

NetworkFactory = Callable[[], nn.Module]
"""Anything that returns a freshly initialised network; call it under a seed."""
