"""Memory that was freed: kept for the next step of training, or given back to the system."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from functools import cache

# The numbers of glibc's options, from its malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# Blocks up to the first (the most that glibc takes) come from the heap, whose free end is given
# back once it is larger than the second.
_LARGEST_BLOCK, _MOST_KEPT = 32 << 20, 512 << 20
# Whoever sets one of these knows better.
_SETTLED = {"GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"}


@cache
def keep_freed_memory() -> bool:
    """Ask glibc not to return memory to the system that the next step asks for again.

    A step of training frees some megabytes. By default they go back, and come again page by page
    and filled with zeros: hundreds of page faults a step, and thousands of a convolutional network.

    Returns:
        Whether it was asked: not of other systems, nor where the environment settles the matter.
    """
    if not _SETTLED.isdisjoint(os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK) & mallopt(_TRIM_THRESHOLD, _MOST_KEPT))


def release_freed_memory() -> None:
    """Give memory that was freed back to the system, where glibc would keep it.

    What one stage of an audit leaves in pieces would stand beside what the next one takes.
    """
    with suppress(AttributeError, OSError, TypeError):  # another system
        ctypes.CDLL(None).malloc_trim(0)
