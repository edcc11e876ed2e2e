"""A target model of one trained network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Tensor, nn

from selena.errors import StoreError
from selena.networks import NetworkFactory
from selena.training.batches import as_input
from selena.training.flips import flipped_labels
from selena.training.inference import predict


@dataclass(frozen=True, eq=False)
class NetworkModel:
    """A target model that is one network.

    Attributes:
        network: maps inputs (see `as_input`) to n x c logits.
        num_classes: c.
        device: where it computes.
    """

    network: nn.Module
    num_classes: int
    device: str = "cpu"

    def __repr__(self) -> str:
        weights = sum(each.numel() for each in self.network.parameters())
        return f"NetworkModel({weights:,} weights, {self.num_classes:,} classes, {self.device})"

    def logits(self, x: Shaped[Tensor, "n *features"]) -> Float[Tensor, "n c"]:
        """Return logits, float32 on the CPU."""
        return predict(self.network, x, device=self.device)

    def differentiable_logits(self, x: Float[Tensor, "n *features"]) -> Float[Tensor, "n c"]:
        """Return logits through which gradients flow back to `x`."""
        logits: Tensor = self.network.eval()(as_input(x.to(self.device)))
        return logits

    def flipped_labels(
        self, x: UInt8[Tensor, "n d"], flips: Bool[Tensor, "k d"]
    ) -> Int[Tensor, "n k"]:
        """Return the predicted label of each record under each pattern of flipped bits."""
        return flipped_labels(self.network, x, flips, device=self.device)

    def state(self) -> dict[str, Tensor]:
        """Return the weights."""
        return self.network.state_dict()


def restore_network(
    factory: NetworkFactory, num_classes: int, state: dict[str, Tensor]
) -> NetworkModel:
    """Rebuild a `NetworkModel` from its `state`; it computes on the device that the state is on.

    Raises:
        StoreError: the weights are not those of this architecture; the message says which differ.
    """
    device = next((tensor.device for tensor in state.values()), torch.device("cpu"))
    network = factory().to(device)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise StoreError(f"These weights belong to another architecture. {error}") from error
    return NetworkModel(network.eval(), num_classes, str(device))
