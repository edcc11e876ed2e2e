"""Faster training steps on a GPU: recorded ones, and compiled networks.

A step has some hundred kernels, and starting one takes the processor longer than many take to run.
So a GPU stores each step once (a CUDA graph) and then replays it as a whole. A step that cannot be
recorded runs unrecorded, and the log says why.

PyTorch's compiler fuses what a residual network does between two convolutions (batch normalisation,
activation, sum) into one kernel: a step takes a fifth less time. Compiling takes half a minute per
architecture; all networks of that architecture share the result. `results/gpu/steps.json` holds
times.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from selena.networks import NetworkFactory
from selena.training.forward import Forward
from selena.training.job import Job
from selena.training.recipe import Recipe
from selena.training.stack import convolves

# The first calls run unrecorded: in them libraries choose kernels and allocate workspaces.
_WARM_UP = 3
# Steps of all networks together after which compiling has saved about the time that it took.
_WORTH_COMPILING = 30_000

_LOG = logging.getLogger(__name__)


def stream_on(device: torch.device) -> torch.cuda.Stream | None:
    """Return a new CUDA stream on `device`, or None on a device without streams."""
    if device.type != "cuda" or not torch.backends.cuda.is_built():
        return None
    return torch.cuda.Stream(device)


class Replay:
    """A function of tensors that always does the same work, on tensors at fixed addresses."""

    def __init__(
        self,
        function: Callable[..., None],
        device: torch.device,
        stream: torch.cuda.Stream | None,
        *,
        record: bool = True,
    ) -> None:
        """Prepare calls.

        Args:
            function: takes tensors on `device`, of the same shapes in each call; it returns
                nothing, but changes other tensors in place.
            device: where it works.
            stream: the queue that its work joins (`stream_on`).
            record: whether it may be recorded; a function of more than tensors may not.
        """
        self._function = function
        self._device = device
        self._stream = stream
        self._may_record = record
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []

    def __call__(self, *inputs: Tensor) -> None:
        """Call the function with copies of `inputs`, which are on the CPU."""
        if self._stream is None:
            self._function(*(tensor.to(self._device) for tensor in inputs))
            return
        with torch.cuda.stream(self._stream):
            # From pinned memory, so that the processor does not wait for the copy.
            arrived = [t.pin_memory().to(self._device, non_blocking=True) for t in inputs]
            self._calls += 1
            if self._may_record and self._graph is None and self._calls > _WARM_UP:
                self._record(arrived)
            if self._graph is None:
                self._function(*arrived)
                return
            for place, value in zip(self._inputs, arrived, strict=True):
                place.copy_(value)
            self._graph.replay()

    def _record(self, arrived: list[Tensor]) -> None:
        """Record a call without running it."""
        self._inputs = [tensor.clone() for tensor in arrived]
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                self._function(*self._inputs)
        except RuntimeError as error:
            _LOG.info("Training is not recorded: %s", error)
            self._may_record = False
            return
        self._graph = graph


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
