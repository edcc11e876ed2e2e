"""Neighbors of a record (bits flipped, noise added, pixels shifted), and how to ask about them.

All records get the same flip patterns, noise vectors or shifts: copy number j is made in the same
way for each of them. So a score depends neither on the order of the candidates nor on the batch. It
has the same distribution as with separate draws per record. And since known and unknown records
share the draws, a lucky draw shifts thresholds and scores alike (common random numbers), so records
and strengths of noise are compared with less variance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional

from selena.errors import ConfigError, DataError
from selena.seeding import torch_generator
from selena.training.batches import as_input, in_chunks
from selena.training.flips import flip_bits
from selena.types import Records
from selena.workspace import Progress

Neighbors = Callable[[Shaped[Tensor, "m *features"], slice], Shaped[Tensor, "m k *features"]]
"""Maps records and a range of k copy numbers to these copies of each record."""

Judge = Callable[[Shaped[Tensor, "b *features"], Int[Tensor, " b"]], Shaped[Tensor, " b"]]
"""Maps queried records and labels to one number each."""


def judge_neighbors(
    judge: Judge,
    records: Records,
    neighbors: Neighbors,
    which: slice,
    *,
    max_batch: int,
    progress: Progress,
) -> Float[Tensor, "n k"]:
    """Return the judge's number for each record's copies `which`, float64.

    Args:
        judge: asks the oracle about at most `max_batch` records at once.
        records: the records; neighbors have the labels of their records.
        neighbors: makes the neighbors.
        which: copy numbers, `slice(start, stop)`.
        max_batch: most records in memory at once.
        progress: shows how many neighbors are judged.
    """
    count = which.stop - which.start
    values = torch.empty(len(records), count, dtype=torch.float64)
    with progress.step("Near neighbors", values.numel()) as bar:
        for rows in in_chunks(len(records), max(1, max_batch // max(1, count))):
            for part in in_chunks(count, max_batch):
                numbers = slice(which.start + part.start, which.start + part.stop)
                copies = neighbors(records.x[rows], numbers)
                labels = records.y[rows].repeat_interleave(copies.shape[1])
                answers = judge(copies.flatten(0, 1), labels)
                values[rows, part] = answers.double().view(copies.shape[:2])
                bar.advance(len(answers))
    return values


def flip_patterns(width: int, flips: int, copies: int, seed: int) -> Bool[Tensor, "copies width"]:
    """Return which bits each copy flips: exactly `flips` of them, drawn uniformly.

    For one seed and copy, the bits of fewer flips are a subset of those of more flips.

    Raises:
        ConfigError: more flips than bits.
    """
    if flips > width:
        raise ConfigError(f"Cannot flip {flips} of {width} bits. Ask for at most {width} flips.")
    order = torch.rand(copies, width, generator=torch_generator(seed, "bit flips")).argsort(dim=1)
    return torch.zeros(copies, width, dtype=torch.bool).scatter_(1, order[:, :flips], True)


def bit_flips(width: int, flips: int, copies: int, seed: int) -> Neighbors:
    """Return neighbors of binary records with the bits of `flip_patterns` flipped."""
    patterns = flip_patterns(width, flips, copies, seed)

    def neighbors(x: Tensor, which: slice) -> Tensor:
        check_bits(x)
        return flip_bits(x, patterns[which]).view(len(x), -1, width)

    return neighbors


def check_bits(x: Shaped[Tensor, "n *features"]) -> None:
    """Raise `DataError` unless `x` holds bits."""
    if x.dtype != torch.uint8 or x.ndim != 2 or (len(x) and int(x.max()) > 1):
        raise DataError(
            f"Bits can be flipped in binary records only (n x bits, uint8, 0 or 1); these "
            f"are {_described(x)}. Use noise for continuous features, shifts for images."
        )


def gaussian_noise(scale: Float[Tensor, "*features"], copies: int, seed: int) -> Neighbors:
    """Return neighbors with normal noise of standard deviation `scale`, one value per feature.

    Images are scaled to [0, 1] and stay there. For one seed, noise of another scale is the same
    noise times a factor.
    """
    generator = torch_generator(seed, "gaussian noise")
    noise = torch.randn(copies, *scale.shape, generator=generator) * scale

    def neighbors(x: Tensor, which: slice) -> Tensor:
        check_continuous(x)
        moved = as_input(x)[:, None] + noise[which]
        return moved.clamp(0, 1) if x.ndim == 4 else moved

    return neighbors


def image_shifts(shifts: Sequence[tuple[int, int, bool]]) -> Neighbors:
    """Return neighbors shifted by (down, right) on a black background, mirrored if True."""
    down, right, mirrored = torch.tensor(shifts, dtype=torch.int64).T
    pad = int(torch.maximum(down.abs(), right.abs()).max())

    def neighbors(x: Tensor, which: slice) -> Tensor:
        if x.ndim != 4:
            raise DataError(
                "Shifts and mirroring need images (n x channels x height x width); these are "
                f"{_described(x)}. Flip bits of binary records, add noise to continuous ones."
            )
        both = functional.pad(torch.stack([x, x.flip(3)], dim=1), (pad,) * 4)
        windows = (
            both.unfold(3, x.shape[2], 1).unfold(4, x.shape[3], 1).permute(0, 1, 3, 4, 2, 5, 6)
        )
        chosen: Tensor = windows[:, mirrored[which], pad - down[which], pad - right[which]]
        return chosen

    return neighbors


def check_continuous(x: Shaped[Tensor, "n *features"]) -> None:
    """Raise `DataError` if `x` holds bits, since bits with noise are no bits."""
    if x.dtype == torch.uint8 and x.ndim == 2:
        raise DataError(
            f"Gaussian noise needs continuous features or images; these are {_described(x)}. "
            "Flip bits of binary records instead."
        )


def _described(x: Tensor) -> str:
    return f"{' x '.join(map(str, ('n', *x.shape[1:])))} of {x.dtype}"
