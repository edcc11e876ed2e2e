"""Freed memory: kept for the next step of training, or given back to the system."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from functools import cache

# The numbers of glibc's options, from its malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# Blocks up to the first size (the largest that glibc accepts) come from the heap. The free end of
# the heap is given back once it is larger than the second size.
_LARGEST_BLOCK, _MOST_KEPT = 32 << 20, 512 << 20
# Where a user sets one of these, glibc is left as it is.
_SETTLED = {"GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"}


@cache
def keep_freed_memory() -> bool:
    """Make glibc keep freed memory, because the next step of training needs it again.

    A step of training frees some megabytes. By default they go back to the system, and return page
    by page, filled with zeros: hundreds of page faults per step, thousands with convolutions.

    Returns:
        Whether glibc was told: False on other systems, and where the environment sets it.
    """
    if not _SETTLED.isdisjoint(os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK) & mallopt(_TRIM_THRESHOLD, _MOST_KEPT))


def release_freed_memory() -> None:
    """Give freed memory back to the system, where glibc would keep it.

    Otherwise freed fragments of one stage of an audit add to the memory of the next stage.
    """
    with suppress(AttributeError, OSError, TypeError):  # another system
        ctypes.CDLL(None).malloc_trim(0)
