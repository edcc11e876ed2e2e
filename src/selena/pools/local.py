"""Processes of this machine, by joblib; all of them memory-map the arrays that tasks share.

The threads of a process wait for each other after each small step, so long training is faster in
several processes.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from threading import Thread
from typing import Any, TypeVar

import torch
from joblib import Parallel, delayed

from selena.pools.shared_memory import shared_folder

R = TypeVar("R")


@dataclass(frozen=True)
class LocalPool:
    """Worker processes that end with this one.

    Attributes:
        workers: number of workers.
        threads: number of threads per worker.
    """

    workers: int
    threads: int

    def slots(self) -> int:
        """Return the number of workers."""
        return self.workers

    def run(
        self, function: Callable[..., R], tasks: Sequence[Any], shared: Sequence[Any]
    ) -> Iterator[tuple[int, R]]:
        """Yield the number and the result of each task, in order of arrival."""
        pool = Parallel(
            n_jobs=self.workers,
            return_as="generator_unordered",
            mmap_mode="c",
            temp_folder=str(shared_folder()),
        )
        calls = (
            delayed(_work)(function, number, task, *shared, asked_by=os.getpid(), pool=self)
            for number, task in enumerate(tasks)
        )
        with warnings.catch_warnings():
            # The pool replaces a worker that uses too much memory (oneDNN keeps kernels for every
            # batch size), which costs a second and loses nothing.
            warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
            yield from pool(calls)


def _work(
    function: Callable[..., R],
    number: int,
    task: Any,
    *shared: Any,
    asked_by: int,
    pool: LocalPool,
) -> tuple[int, R]:
    end_with(asked_by)
    torch.set_num_threads(pool.threads)
    return number, function(task, *shared)


@cache
def end_with(parent: int) -> None:
    """End this process soon after `parent`, if that is its parent, which may be killed.

    Otherwise workers would outlive a killed parent and keep the shared records in memory.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if os.getppid() == parent:
        Thread(target=watch, daemon=True).start()
