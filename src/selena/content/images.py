"""Finds images that are alike under shifts, mirroring, small crops, brightness and re-encoding.

Each image has a descriptor: magnitudes of its Fourier transform. A shift does not change them, and
mirroring mirrors them, so the mean of both versions ignores mirroring. Low frequencies survive
re-encoding and small crops, and a window suppresses changes at the edges. Images with near
descriptors are then compared pixel by pixel under every shift, about a millisecond per pair.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from selena.content.neighbours import nearest
from selena.content.vectors import as_pixels, vectors_of
from selena.training.batches import in_chunks

SIDE = 32
"""Images are compared at this height and width."""

_FREQUENCIES = 6
_CHUNK = 512
_REACH = 8  # largest shift between two images, in pixels of SIDE


def nearest_images(x: Any, k: int) -> tuple[Float64[np.ndarray, "n k"], Int64[np.ndarray, "n k"]]:
    """Return distances and rows of the k nearest images with near descriptors, sorted.

    A distance is the root of one minus the highest correlation of the overlapping pixels, over
    shifts and mirroring: 0 for equal images, about 1 for unrelated ones.

    Args:
        x: n x channels x height x width, or with the channels last.
        k: number of neighbours, below n.
    """
    n = x.shape[0]
    gray = torch.empty(n, SIDE, SIDE, dtype=torch.float32)
    described = np.empty((n, _FREQUENCIES * (2 * _FREQUENCIES - 1)), dtype=np.float32)
    for part in in_chunks(n, _CHUNK):
        pixels = as_pixels(x[part])[:, None]
        gray[part] = torch.nn.functional.interpolate(
            pixels, (SIDE, SIDE), mode="bilinear", antialias=True
        )[:, 0]
        described[part] = _descriptors(gray[part])
    _, rows = nearest(vectors_of(described), k)
    distances = np.empty((n, k))
    for part in in_chunks(n, max(1, _CHUNK // k)):
        mine = torch.arange(n)[part].repeat_interleave(k)
        theirs = torch.from_numpy(rows[part].ravel())
        distances[part] = _apart(gray[mine], gray[theirs]).reshape(-1, k)
    order = distances.argsort(axis=1, kind="stable")
    return np.take_along_axis(distances, order, 1), np.take_along_axis(rows, order, 1)


def _descriptors(gray: Float[Tensor, "n h w"]) -> np.ndarray:
    """Return magnitudes of low frequencies, which shifts, mirroring and contrast do not change."""
    window = torch.hann_window(SIDE + 2, periodic=False)[1:-1]
    weight = window[:, None] * window[None]
    middle = (gray * weight).sum(dim=(1, 2), keepdim=True) / weight.sum()
    spectrum = torch.fft.rfft2((gray - middle) * weight).abs()
    rows = torch.arange(-(_FREQUENCIES - 1), _FREQUENCIES)
    low = spectrum[:, rows][:, :, :_FREQUENCIES]
    both = ((low + low.flip(1)) / 2).flatten(1)
    # Without the square root the lowest frequencies would dominate.
    return torch.nn.functional.normalize(both, dim=1).sqrt().numpy()


def _apart(
    first: Float[Tensor, "m h w"], second: Float[Tensor, "m h w"]
) -> Float64[np.ndarray, " m"]:
    """Return the distance of each pair: the smallest over shifts and mirroring."""
    best = torch.maximum(_correlation(first, second), _correlation(first, second.flip(2)))
    apart: Float64[np.ndarray, " m"] = (1 - best.clamp(-1, 1)).sqrt().double().numpy()
    return apart


def _correlation(
    first: Float[Tensor, "m h w"], second: Float[Tensor, "m h w"]
) -> Float[Tensor, " m"]:
    """Return the highest correlation of the overlap of each pair over all shifts."""
    size, near = SIDE + _REACH, torch.arange(-_REACH, _REACH + 1)

    def spectrum(pixels: Tensor) -> Tensor:
        found: Tensor = torch.fft.rfft2(pixels, s=(size, size))
        return found

    def at_shifts(left: Tensor, right: Tensor) -> Tensor:
        """Return the sum of products over the overlap, for each shift."""
        whole: Tensor = torch.fft.irfft2(left * right.conj(), s=(size, size))
        return whole[..., near[:, None], near[None]]

    one = spectrum(torch.ones(SIDE, SIDE))
    a, b = spectrum(first), spectrum(second)
    count = at_shifts(one, one)
    sum_a, sum_b = at_shifts(a, one) / count, at_shifts(one, b) / count
    square_a = at_shifts(spectrum(first**2), one) / count - sum_a**2
    square_b = at_shifts(one, spectrum(second**2)) / count - sum_b**2
    product = at_shifts(a, b) / count - sum_a * sum_b
    # A patch of one color has no correlation; its variance is only rounding.
    correlation = product / (square_a * square_b).clamp_min(1e-8).sqrt()
    return correlation.flatten(1).max(dim=1).values
