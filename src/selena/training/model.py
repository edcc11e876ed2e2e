"""Target models: one trained network, and a wrapper that remembers the last answers."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Tensor, nn

from selena.environment.fingerprint import tensor_digest
from selena.errors import StoreError
from selena.networks import NetworkFactory
from selena.training.batches import as_input
from selena.training.flips import flipped_labels
from selena.training.inference import predict
from selena.types import TargetModel


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


class MemoizedTarget:
    """A target model that remembers its last answers.

    Several attacks ask about the same records; an ensemble or an output filter should compute
    those answers only once. An oracle still counts each query. Do not wrap a target with random
    answers: asking it again is an attack, and must give new answers.
    """

    def __init__(self, target: TargetModel, keep: int = 8) -> None:
        """Wrap `target`, keeping its answers to the last `keep` batches; 0 keeps none.

        A target that looks its answers up (`is_table`) is asked each time, since a look-up costs
        less than remembering.
        """
        self._target = target
        self._keep = 0 if getattr(target, "is_table", False) else keep
        self._answers: OrderedDict[str, Tensor] = OrderedDict()

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self._target.num_classes

    def logits(self, x: Shaped[Tensor, "n *features"]) -> Float[Tensor, "n c"]:
        """Return logits, from memory or from the target."""
        if self._keep == 0:
            return self._target.logits(x)
        name = tensor_digest(x)
        if name not in self._answers:
            self._answers[name] = self._target.logits(x)
            if len(self._answers) > self._keep:
                self._answers.popitem(last=False)
        self._answers.move_to_end(name)
        return self._answers[name].clone()
