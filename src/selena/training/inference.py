"""Predictions of a trained network: float32, in batches that fit the caches."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from selena.training.batches import as_input, in_chunks
from selena.training.forward import answers, linear_stack
from selena.training.job import Examples
from selena.training.memory import keep_freed_memory

# Input numbers per batch. On a CPU the activations of a convolution then stay in the caches, which
# is three times as fast as batches of thousands of records; a GPU is faster with large batches.
_CPU_NUMBERS, _GPU_NUMBERS = 1 << 19, 1 << 24


def predict(
    network: nn.Module, x: Shaped[Tensor, "n *features"], *, device: str = "cpu"
) -> Float[Tensor, "n *out"]:
    """Return the network's outputs for all records, float32, on the CPU."""
    parts = in_chunks(max(len(x), 1), _batch_size(x, device))
    return torch.cat([_outputs(network, x[part], device) for part in parts])


def predict_rows(
    network: nn.Module,
    x: Shaped[Tensor, "n *features"],
    rows: Int[Tensor, " m"],
    *,
    device: str = "cpu",
) -> Iterator[tuple[Int[Tensor, " b"], Float[Tensor, "b *out"]]]:
    """Yield batches of `rows` with the network's outputs for them.

    The batches are those of `predict(network, x[rows])`; only the current one is in memory.
    """
    for part in in_chunks(len(rows), _batch_size(x, device)):
        yield rows[part], _outputs(network, x[rows[part]], device)


def _batch_size(x: Shaped[Tensor, "n *features"], device: str) -> int:
    numbers = _CPU_NUMBERS if torch.device(device).type == "cpu" else _GPU_NUMBERS
    return max(1, numbers // max(1, x[:1].numel()))


def _outputs(
    network: nn.Module, x: Shaped[Tensor, "b *features"], device: str
) -> Float[Tensor, "b *out"]:
    keep_freed_memory()
    network.eval()
    stack = linear_stack(network)
    with torch.no_grad():
        inputs = as_input(x.to(device))
        output: Tensor = answers(stack, inputs) if stack else network(inputs)
    return output.cpu()


def accuracy(network: nn.Module, examples: Examples, device: torch.device) -> float:
    """Return the share of `examples` (with hard labels) that `network` predicts correctly."""
    predicted = predict(network, examples.x, device=str(device)).argmax(dim=1)
    return float((predicted == examples.target).double().mean())
