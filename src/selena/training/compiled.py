"""Compiled networks, where training is long enough to repay the time of compiling.

PyTorch's compiler fuses what a residual network does between two convolutions (batch normalisation,
activation, sum) into one kernel: on a GPU a step takes a fifth less time. Compiling takes half a
minute per architecture; all networks of that architecture share the result.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from selena.networks import NetworkFactory
from selena.training.forward import Forward
from selena.training.job import Job
from selena.training.recipe import Recipe
from selena.training.stack import convolves

# Steps of all networks together after which compiling has saved about the time that it took.
_WORTH_COMPILING = 30_000

_LOG = logging.getLogger(__name__)


def worth_compiling(
    factory: NetworkFactory, jobs: Sequence[Job], recipe: Recipe, device: torch.device
) -> bool:
    """Return whether to compile; finished jobs count too, so that a resumed run decides alike."""
    if device.type != "cuda" or find_spec("triton") is None or not isinstance(recipe.loss, str):
        return False
    steps = recipe.epochs * sum(len(job.rows) // recipe.batch_size for job in jobs)
    return steps >= _WORTH_COMPILING and convolves(factory())


def compiled(network: nn.Module, batch_size: int) -> Forward:
    """Return `network` compiled for batches of one size; other sizes run uncompiled.

    After a failure of the compiler all batches run uncompiled.
    """
    fast, works = torch.compile(network, dynamic=False), True

    def forward(x: Tensor) -> Tensor:
        nonlocal works
        if works and len(x) == batch_size:
            try:
                output: Tensor = fast(x)
                return output
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                _LOG.info("Training is not compiled: %s", error)
                works = False
        return network(x)  # type: ignore[no-any-return]

    return forward
