"""Seeds of random draws, derived from one root seed and a path of names.

Draws with different paths are independent, so adding one never changes another, and any part of a
run (sub-model 7, epoch 3, the shuffle of the candidates) can be repeated alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from threading import RLock

import numpy as np
import torch


def child_seed(root: int, *path: str | int) -> int:
    """Return the 63-bit seed that belongs to `path` under `root`.

    >>> child_seed(0, "split") == child_seed(0, "split")
    True
    >>> child_seed(0, "split") == child_seed(0, "init")
    False
    """
    name = "\x1f".join([str(int(root)), *(f"{type(part).__name__}:{part}" for part in path)])
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


def numpy_generator(root: int, *path: str | int) -> np.random.Generator:
    """Return a NumPy generator seeded by `child_seed(root, *path)`."""
    return np.random.default_rng(child_seed(root, *path))


def torch_generator(root: int, *path: str | int) -> torch.Generator:
    """Return a CPU generator seeded by `child_seed(root, *path)`.

    Draws are made on the CPU and then moved, so that all devices get the same ones.
    """
    return torch.Generator().manual_seed(child_seed(root, *path))


_GLOBAL = RLock()


@contextmanager
def seeded(root: int, *path: str | int) -> Iterator[None]:
    """Run a block with PyTorch's global generators seeded by name, then restore them.

    It serves functions without a generator argument: weight initialisation and dropout. These
    generators belong to the whole process, so threads take turns.
    """
    seed, devices = child_seed(root, *path), list(range(torch.cuda.device_count()))
    with _GLOBAL, torch.random.fork_rng(devices=devices):
        # `torch.manual_seed` would also queue a call for every kind of device that is absent, with
        # its stack trace, which costs time and memory in each epoch.
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed_all(seed)
        yield
