"""Batches and network inputs; bits and pixels stay uint8 until a batch is gathered."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

_ANSWERS = 1 << 22
"""Numbers in the answer to one batch of a target model, at most."""


def as_input(
    x: Shaped[Tensor, "n *features"], dtype: torch.dtype = torch.float32
) -> Float[Tensor, "n *features"]:
    """Return features as a network takes them.

    Bits become 0.0 and 1.0, and uint8 images (four dimensions) become pixels in [0, 1]; bf16
    holds both almost exactly. Continuous features stay float32, since bf16 would cut digits.
    """
    if x.dtype == torch.uint8:
        return x.to(dtype) / 255 if x.ndim == 4 else x.to(dtype)
    return x.to(torch.float32)


def shuffled_batches(
    rows: Int[Tensor, " n"], batch_size: int, generator: torch.Generator
) -> list[Int[Tensor, " b"]]:
    """Return `rows` in random order, cut into batches of `batch_size`, the last one smaller.

    A last batch of a single record joins the one before it: batch normalisation cannot train on
    one record.
    """
    order = rows[torch.randperm(len(rows), generator=generator)]
    return list(torch.split(order, batch_sizes(len(rows), batch_size)))


def batch_sizes(n: int, batch_size: int) -> list[int]:
    """Return the sizes of the batches that `shuffled_batches` makes of n rows."""
    sizes = [min(batch_size, n - start) for start in range(0, n, batch_size)]
    if len(sizes) > 1 and sizes[-1] == 1:
        sizes[-2:] = [sizes[-2] + 1]
    return sizes


def in_chunks(n: int, size: int) -> Iterator[slice]:
    """Yield slices of at most `size` that cover range(n)."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def in_answer_chunks(n: int, num_classes: int) -> Iterator[slice]:
    """Yield slices that cover range(n), each of as many records as a target model gets at once.

    That bounds the memory for many records of many classes.
    """
    return in_chunks(n, max(1, _ANSWERS // num_classes))


def in_even_chunks(n: int, most: int) -> Iterator[slice]:
    """Yield as few slices as `in_chunks` does, of sizes that differ by one at most."""
    count = -(-n // most)
    for i in range(count):
        yield slice(i * n // count, (i + 1) * n // count)
