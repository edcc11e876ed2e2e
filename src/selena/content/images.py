"""Finds images that are alike under shifts, mirroring, small crops, brightness and re-encoding.

Each image has a descriptor: magnitudes of its Fourier transform. A shift does not change them, and
mirroring mirrors them, so the mean of both versions ignores mirroring. Low frequencies survive
re-encoding and small crops, and a window suppresses changes at the edges. Images with near
descriptors are then compared pixel by pixel under every shift: three Fourier transforms per pair.
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
_SHIFTS = torch.arange(-_REACH, _REACH + 1)
# An image shifted by s overlaps another with its rows _FIRST to _LAST, and with such columns.
_FIRST, _LAST = _SHIFTS.clamp_min(0), SIDE + _SHIFTS.clamp_max(0)
_COUNT = (_LAST - _FIRST)[:, None] * (_LAST - _FIRST)


def nearest_images(
    x: Any, k: int, only: Int64[np.ndarray, " m"] | None = None
) -> tuple[Float64[np.ndarray, "m k"], Int64[np.ndarray, "m k"]]:
    """Return distances and rows of the k nearest images with near descriptors, sorted.

    A distance is the root of one minus the highest correlation of the overlapping pixels, over
    shifts and mirroring: 0 for equal images, about 1 for unrelated ones.

    Args:
        x: n x channels x height x width, or with the channels last.
        k: number of neighbours, below n.
        only: rows whose descriptors are compared with all n, as for `nearest`.
    """
    n = x.shape[0]
    gray = torch.empty(n, SIDE, SIDE, dtype=torch.float32)
    described = np.empty((n, _FREQUENCIES * (2 * _FREQUENCIES - 1)), dtype=np.float32)
    for part in in_chunks(n, _CHUNK):
        pixels = as_pixels(x[part])[:, None]
        small = torch.nn.functional.interpolate(
            pixels, (SIDE, SIDE), mode="bilinear", antialias=True
        )[:, 0]
        gray[part] = small - small.mean(dim=(1, 2), keepdim=True)  # correlations round less
        described[part] = _descriptors(gray[part])
    _, rows = nearest(vectors_of(described), k, only)
    mine = gray if only is None else gray[torch.from_numpy(only)]
    distances = np.empty(rows.shape)
    for part in in_chunks(len(rows), max(1, _CHUNK // k)):
        distances[part] = _apart(mine[part], gray[torch.from_numpy(rows[part])])
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
    both[:, (_FREQUENCIES - 1) * _FREQUENCIES] = 0  # the mean, of which only rounding is left
    # Without the square root the lowest frequencies would dominate.
    return torch.nn.functional.normalize(both, dim=1).sqrt().numpy()


def _apart(
    images: Float[Tensor, "m h w"], others: Float[Tensor, "m k h w"]
) -> Float64[np.ndarray, "m k"]:
    """Return how far each image is from its k others: the least over shifts and mirroring."""
    spectrum, (their_mean, their_variance) = _spectrum(others), _overlaps(others)
    # An image shifted by (v, u) overlaps what the other one would overlap if shifted by (-v, -u).
    their_mean, their_variance = their_mean.flip(2, 3), their_variance.flip(2, 3)
    best = torch.full(others.shape[:2], -1.0)
    for mine in (images[:, None], images[:, None].flip(3)):
        mean, variance = _overlaps(mine)
        product = _products(_spectrum(mine), spectrum) - mean * their_mean
        # A patch of one color has no correlation; its variance is only rounding.
        correlation = product / (variance * their_variance).clamp_min(1e-8).sqrt()
        best = torch.maximum(best, correlation.flatten(2).max(dim=2).values)
    apart: Float64[np.ndarray, "m k"] = (1 - best.clamp(-1, 1)).sqrt().double().numpy()
    return apart


def _spectrum(pixels: Float[Tensor, "m k h w"]) -> Tensor:
    found: Tensor = torch.fft.rfft2(pixels, s=(SIDE + _REACH, SIDE + _REACH))
    return found


def _products(mine: Tensor, theirs: Tensor) -> Float[Tensor, "m k v u"]:
    """Return the mean product of overlapping pixels at each shift, from the spectra."""
    whole: Tensor = torch.fft.irfft2(mine * theirs.conj(), s=(SIDE + _REACH, SIDE + _REACH))
    return whole[:, :, _SHIFTS[:, None], _SHIFTS] / _COUNT


def _overlaps(pixels: Float[Tensor, "m k h w"]) -> tuple[Tensor, Tensor]:
    """Return mean and variance of the pixels that overlap another image, at each shift.

    The overlap is a rectangle at an edge, so its sum is found in the cumulated pixels.
    """

    def mean(values: Tensor) -> Tensor:
        sums = torch.nn.functional.pad(values, (1, 0, 1, 0)).cumsum(2).cumsum(3)
        rows = sums[:, :, _LAST] - sums[:, :, _FIRST]
        return (rows[..., _LAST] - rows[..., _FIRST]) / _COUNT

    middle = mean(pixels)
    return middle, mean(pixels**2) - middle**2
