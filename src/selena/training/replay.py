"""Recorded training steps: a GPU stores each step once (a CUDA graph) and then replays it.

A step has some hundred kernels, and starting one takes the processor longer than many take to run.
A recorded step is started as a whole. `results/gpu/steps.json` holds times. A step that cannot be
recorded runs unrecorded, and the log says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

# The first calls run unrecorded: in them libraries choose kernels and allocate workspaces.
_WARM_UP = 3

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
