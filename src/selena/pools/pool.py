"""The interface of a pool of workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

R = TypeVar("R")


@runtime_checkable
class Pool(Protocol):
    """Workers that run tasks: processes here, or on other machines."""

    def slots(self) -> int:
        """Return how many tasks run at once, at least 1."""
        ...

    def run(
        self, function: Callable[..., R], tasks: Sequence[Any], shared: Sequence[Any]
    ) -> Iterator[tuple[int, R]]:
        """Yield the number and the result of each task, in order of arrival.

        Args:
            function: called as `function(task, *shared)`; found by its name, or sent along.
            tasks: small objects; each is sent to the worker that runs it.
            shared: large arrays, and tuples of arrays, which are sent once per machine. A worker
                must not write into them.
        """
        ...
