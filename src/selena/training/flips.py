"""Predicted labels of bit-flipped copies of records, with a cheaper first layer.

A copy differs from its record in a few bits, so the first layer's output differs by those bits'
columns of its weights: W(x ^ p) + b = (Wx + b) + sum over flipped i of (1 - 2 x_i) W_i. For a
network on 600 bits, whose first layer is nearly half of the arithmetic, that saves nearly half.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import overload

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from selena.environment.processor import has_fast_bfloat16
from selena.training.batches import as_input, in_chunks
from selena.training.forward import Layer, activate, linear, linear_stack
from selena.training.inference import predict

# Records per step: on a CPU the activations of a step then stay in its caches.
_CPU_ROWS, _GPU_ROWS = 512, 8_192
# A label counts as certain if its logit leads the next by more than `_SAFETY` times the largest
# rounding error on `_SAMPLE` = (records, patterns of each); others are computed in float32.
_SAMPLE, _SAFETY = (64, 4), 2.0
_COPIES_BYTES = 1 << 24


def flip_bits(x: UInt8[Tensor, "n d"], flips: Bool[Tensor, "k d"]) -> UInt8[Tensor, "n*k d"]:
    """Return every record with each pattern of bits flipped, record by record."""
    return (x[:, None] ^ flips.to(torch.uint8)).flatten(0, 1)


def flipped_labels(
    network: nn.Module, x: UInt8[Tensor, "n d"], flips: Bool[Tensor, "k d"], *, device: str = "cpu"
) -> Int[Tensor, "n k"]:
    """Return the labels that `network` predicts for each record under each pattern of flips.

    They equal the labels of `predict` on the flipped records. Networks other than plain stacks of
    linear layers and activations do compute these records. Where `device` has bf16 instructions,
    most copies are computed in bf16. Copies whose two largest logits are closer than a multiple of
    the rounding error, measured on a sample, are computed again in float32.
    """
    stack = linear_stack(network)
    if stack is None or not (len(x) and len(flips)):
        return ask_flipped(lambda c: predict(network, c, device=device).argmax(dim=1), x, flips)
    place = torch.device(device)
    fast = FlipPass(stack, place, torch.bfloat16 if has_fast_bfloat16(place) else torch.float32)
    labels, leads = fast.labels(x, flips)
    doubtful = torch.nonzero(leads <= fast.doubt(network, x, flips))
    for part in in_chunks(len(doubtful), max(1, _COPIES_BYTES // x.shape[1])):
        row, pattern = doubtful[part].T
        copies = x[row] ^ flips[pattern].to(torch.uint8)
        labels[row, pattern] = predict(network, copies, device=device).argmax(dim=1)
    return labels


class FlipPass:
    """A stack of linear layers whose first one is updated by the flipped columns only."""

    def __init__(self, stack: list[Layer], device: torch.device, dtype: torch.dtype) -> None:
        """Prepare weights in `dtype`; the first layer's own outputs are computed in float32."""
        (self._first, self._activation), *rest = stack
        self._device = device
        self._dtype = dtype
        self._columns = self._rounded(self._first.weight).T.contiguous()
        self._rest = [
            (self._rounded(layer.weight), self._rounded(layer.bias), activation)
            for layer, activation in rest
        ]

    @overload
    def _rounded(self, parameter: Tensor) -> Tensor: ...
    @overload
    def _rounded(self, parameter: None) -> None: ...
    def _rounded(self, parameter: Tensor | None) -> Tensor | None:
        return None if parameter is None else parameter.detach().to(self._device, self._dtype)

    def logits(
        self, base: Float[Tensor, "n h"], signs: Float[Tensor, "n d"], bits: Int[Tensor, " f"]
    ) -> Float[Tensor, "n c"]:
        """Return the logits of records under one pattern, from their own first-layer outputs."""
        moved = torch.addmm(base, signs[:, bits], self._columns[bits])
        hidden = activate(moved, self._activation)
        for weight, bias, activation in self._rest:
            hidden = linear(hidden, weight, bias, activation)
        return hidden.float()

    def labels(
        self, x: UInt8[Tensor, "n d"], flips: Bool[Tensor, "k d"]
    ) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
        """Return the label of each copy, and the lead of its logit over the next largest."""
        labels = torch.empty(len(x), len(flips), dtype=torch.int64)
        leads = torch.empty(len(x), len(flips))
        patterns = [torch.nonzero(row).squeeze(1).to(self._device) for row in flips]
        step = _CPU_ROWS if self._device.type == "cpu" else _GPU_ROWS
        with torch.inference_mode():
            for rows in in_chunks(len(x), step):
                base, signs = self._start(x[rows])
                for j, bits in enumerate(patterns):
                    top = self.logits(base, signs, bits).topk(2, dim=1)
                    labels[rows, j] = top.indices[:, 0].cpu()
                    leads[rows, j] = (top.values[:, 0] - top.values[:, 1]).cpu()
        return labels, leads

    def doubt(
        self, network: nn.Module, x: UInt8[Tensor, "n d"], flips: Bool[Tensor, "k d"]
    ) -> float:
        """Return the lead within which `network` itself, in float32, may predict another label.

        It is measured on an evenly spaced sample of the copies: the largest rounding error of the
        difference between two logits of a copy, times a margin.
        """
        rows, patterns = _evenly(len(x), _SAMPLE[0]), _evenly(len(flips), _SAMPLE[1])
        exact = predict(network, flip_bits(x[rows], flips[patterns]), device=str(self._device))
        with torch.inference_mode():
            base, signs = self._start(x[rows])
            bits = [torch.nonzero(row).squeeze(1).to(self._device) for row in flips[patterns]]
            rounded = torch.stack([self.logits(base, signs, b).cpu() for b in bits], dim=1)
        error = rounded.flatten(0, 1) - exact
        return _SAFETY * float((error.amax(dim=1) - error.amin(dim=1)).max())

    def _start(self, x: UInt8[Tensor, "n d"]) -> tuple[Float[Tensor, "n h"], Float[Tensor, "n d"]]:
        inputs = as_input(x.to(self._device))
        base: Tensor = self._first.to(self._device)(inputs)
        return base.to(self._dtype), (1 - 2 * inputs).to(self._dtype)


def _evenly(n: int, count: int) -> Int[Tensor, " m"]:
    return torch.linspace(0, n - 1, min(n, count)).long()


def ask_flipped(
    labels: Callable[[Tensor], Tensor], x: UInt8[Tensor, "n d"], flips: Bool[Tensor, "k d"]
) -> Int[Tensor, "n k"]:
    """Return `labels` of each record under each pattern of flips, in batches of bounded memory."""
    rows = max(1, _COPIES_BYTES // max(1, x.shape[1] * len(flips)))
    parts = [labels(flip_bits(x[part], flips)) for part in in_chunks(len(x), rows)]
    return torch.cat([torch.empty(0, dtype=torch.int64), *parts]).view(len(x), len(flips))
