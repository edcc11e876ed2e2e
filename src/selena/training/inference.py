"""What a trained network answers: float32, in batches that fit the caches, memory bounded."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from selena.training.batches import as_input, in_chunks
from selena.training.job import Examples

# Numbers of input a batch: on a CPU the activations of a convolution then stay in its caches,
# which makes it three times as fast as batches of thousands; a GPU wants large ones.
_CPU_NUMBERS, _GPU_NUMBERS = 1 << 19, 1 << 24


def predict(
    network: nn.Module, x: Shaped[Tensor, "n *features"], *, device: str = "cpu"
) -> Float[Tensor, "n *out"]:
    """Return the network's outputs for all records, float32, on the CPU."""
    network.eval()
    numbers = _CPU_NUMBERS if torch.device(device).type == "cpu" else _GPU_NUMBERS
    batch_size = max(1, numbers // max(1, x[:1].numel()))
    with torch.no_grad():
        parts = [
            network(as_input(x[part].to(device))).cpu()
            for part in in_chunks(max(len(x), 1), batch_size)
        ]
    return torch.cat(parts)


def accuracy(network: nn.Module, examples: Examples, device: torch.device) -> float:
    """Return the share of `examples` (of hard labels) that `network` predicts right."""
    predicted = predict(network, examples.x, device=str(device)).argmax(dim=1)
    return float((predicted == examples.target).double().mean())
