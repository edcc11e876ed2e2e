"""MIST: copies of a network that learn from different members must agree on them.

Li, Li, Ribeiro, "MIST: Defending Against Membership Inference Attacks Through Membership-Invariant
Subspace Training", USENIX Security 2024, Section 4. Copies predict most members well without
training on them. If only one copy is confident about a member, that copy has memorized it, and
unlearns it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import KW_ONLY, dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from selena.data.checks import check_records
from selena.errors import ConfigError
from selena.networks import NetworkFactory
from selena.seeding import torch_generator
from selena.training.batches import as_input, shuffled_batches
from selena.training.losses import per_example_loss
from selena.training.model import NetworkModel, restore_network
from selena.training.optimizer import Optimizer
from selena.training.own_loop import OwnLoop
from selena.training.recipe import Recipe
from selena.training.task import build
from selena.types import Records
from selena.workspace import Workspace

Batch = Int[Tensor, " b"]


@dataclass(frozen=True)
class MIST:
    """Trains copies on parts of the members, makes them agree there, and averages their weights.

    Each epoch splits the members anew. Each copy starts from the averaged network and trains one
    epoch with cross-entropy on its own part. Then it trains one epoch with the cross-difference
    loss: the distance of its predictions on its part from those of the other copies.

    Attributes:
        network: builds the classifier.
        num_classes: number of classes.
        recipe: optimizer, rate, batch size and epochs.
        n_copies: number of copies, >= 2.
        cross_weight: weight of the cross-difference loss, >= 0; tune it per data set.
    """

    network: NetworkFactory
    num_classes: int
    recipe: Recipe
    _: KW_ONLY
    n_copies: int = 4
    cross_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.n_copies < 2 or not self.cross_weight >= 0:
            raise ConfigError(
                f"MIST needs n_copies >= 2 and cross_weight >= 0; got {self.n_copies}, "
                f"{self.cross_weight}."
            )
        if self.recipe.loss != "cross_entropy" or self.recipe.augmentation != "none":
            raise ConfigError("MIST takes the loss cross_entropy and no augmentation.")

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> NetworkModel:
        """Train on all of `train`."""
        workspace = workspace or Workspace()
        check_records(train, num_classes=self.num_classes, what="training records")
        copies = [build(self.network, seed, workspace.torch_device) for _ in range(self.n_copies)]
        optimizers = [Optimizer(copy.parameters(), self.recipe) for copy in copies]
        loop = OwnLoop(
            self,
            "mist",
            train,
            validation,
            seed=seed,
            workspace=workspace,
            beside={f"copy-{i}": optimizer for i, optimizer in enumerate(optimizers)},
        )
        x, y = train.x.to(loop.device), train.y.to(loop.device)

        def train_epoch(epoch: int) -> None:
            generator = torch_generator(seed, "parts", epoch)
            parts = loop.rows[torch.randperm(len(loop.rows), generator=generator)]
            batches = [
                shuffled_batches(part, self.recipe.batch_size, generator)
                for part in parts.tensor_split(self.n_copies)
                if len(part)
            ]
            busy = copies[: len(batches)]
            for copy in busy:
                copy.load_state_dict(loop.network.state_dict())
                copy.train()

            def take_steps(loss: Callable[[int, Batch], Tensor]) -> None:
                for i, mine in enumerate(batches):
                    for step, rows in enumerate(mine):
                        loss(i, rows).backward()
                        optimizers[i].step(self.recipe.rate_at(epoch, step, len(mine)))

            def learn(i: int, rows: Batch) -> Tensor:
                logits = busy[i](as_input(x[rows]))
                return per_example_loss(logits, y[rows], "cross_entropy").mean()

            def agree(i: int, rows: Batch) -> Tensor:
                others = [other for j, other in enumerate(locally_trained) if j != i]
                p = busy[i](as_input(x[rows])).softmax(dim=1)
                return self.cross_weight * cross_difference(p, predictions(others, x[rows]))

            take_steps(learn)
            if self.cross_weight > 0 and len(busy) > 1:
                # Frozen here: a copy that has already unlearned its part is no reference.
                locally_trained = [deepcopy(copy).eval() for copy in busy]
                take_steps(agree)
            average(busy, loop.network)

        return NetworkModel(loop.run(train_epoch), self.num_classes, workspace.device)

    def restore(self, state: dict[str, Tensor]) -> NetworkModel:
        """Rebuild the model from its `state`."""
        return restore_network(self.network, self.num_classes, state)


@torch.no_grad()
def predictions(networks: Sequence[nn.Module], x: Tensor) -> Float[Tensor, "m b c"]:
    """Return the predictions of several networks for a batch."""
    return torch.stack([network(as_input(x)).softmax(dim=1) for network in networks])


def cross_difference(p: Float[Tensor, "b c"], others: Float[Tensor, "m b c"]) -> Float[Tensor, ""]:
    """Return the mean L1 distance of predictions from those of other networks."""
    return (p - others).abs().sum(dim=2).mean()


@torch.no_grad()
def average(networks: Sequence[nn.Module], into: nn.Module) -> None:
    """Set `into` to the mean of the networks' tensors; integers come from the first network."""
    states = [network.state_dict() for network in networks]
    for name, tensor in into.state_dict().items():
        each = torch.stack([state[name] for state in states])
        tensor.copy_(each.mean(dim=0) if tensor.is_floating_point() else each[0])
