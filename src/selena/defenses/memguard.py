"""MemGuard: noise on each prediction that leaves a membership inference network undecided.

Jia et al., "MemGuard: Defending against Black-Box Membership Inference Attacks via Adversarial
Examples", CCS 2019. The model is not changed and the predicted class never changes, so accuracy
is kept - and label-only attacks see what they saw before.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, field

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from selena.defenses.content import uniform_by_content
from selena.defenses.memguard_noise import NoiseSearch
from selena.defenses.ranking import by_class, predicting, rising
from selena.errors import ConfigError, StoreError
from selena.networks.mlp import MLP
from selena.seeding import child_seed, torch_generator
from selena.training.batches import in_chunks
from selena.training.checkpoint import select
from selena.training.engine import fit_networks
from selena.training.job import Examples, Job
from selena.training.model import restore_network
from selena.training.recipe import Recipe
from selena.types import Defense, Records, StoredModel, check_records
from selena.workspace import Workspace

_HIDDEN = (256, 128, 64)
_CHUNK = 2048
_DEEPEST = 200.0


def _default_recipe() -> Recipe:
    # float32: bf16 has no room between 0.999 and 1, where members' predictions lie. Weight decay
    # keeps the network smooth: without, it guesses as well and most searches end in dead ends.
    return Recipe(
        batch_size=64,
        epochs=10,
        weight_decay=1e-3,
        loss="binary_cross_entropy",
        precision="float32",
    )


@dataclass(frozen=True)
class MemGuard:
    """Fits any defense, then filters its predictions.

    Attributes:
        base: what trains the target model (the paper's: `Undefended`).
        inference: how the inference network is trained, on as many members as reference records;
            binary cross-entropy and Adam; batch, epochs and weight decay are ours. Of decays that
            leave it guessing as well on held-out members and references of the defender, the
            default is one with which noise is found for all of those.
        search: how noise is searched for.
        budget: epsilon, the expected L1 distance at most between the two distributions, in
            (0, 2]; noise r is then used with probability min(1, epsilon / ||r||_1) (Section 4.2).
            None: always, as Tang et al. 2022 do.
    """

    base: Defense
    inference: Recipe = field(default_factory=_default_recipe)
    search: NoiseSearch = field(default_factory=NoiseSearch)
    budget: float | None = None

    def __post_init__(self) -> None:
        if self.budget is not None and not self.budget > 0:
            raise ConfigError(f"budget is {self.budget}; an L1 distance above 0, or None.")
        if self.inference.loss != "binary_cross_entropy":
            raise ConfigError("MemGuard's inference network has one logit: its loss is binary.")

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int,
        workspace: Workspace | None = None,
    ) -> MemGuardModel:
        """Fit the target model, then the inference network; `validation` is its reference set.

        Raises:
            DataError: there are no reference records, or records that cannot be trained on.
        """
        workspace = workspace or Workspace()
        target = self.base.fit(train, validation, seed=seed, workspace=workspace)
        check_records(
            validation, num_classes=target.num_classes, what="MemGuard's reference records"
        )
        size = min(len(train), len(validation))
        sides = {"members": train, "references": validation}
        x = torch.cat(
            [
                _sorted_predictions(target, records.x[_draw(records, size, seed, side)])
                for side, records in sides.items()
            ]
        )
        truth = (torch.arange(2 * size) < size).float()
        (network,) = fit_networks(
            _network(target.num_classes),
            Examples(x, truth),
            [Job("memguard", torch.arange(2 * size), child_seed(seed, "memguard"))],
            self.inference,
            description="MemGuard's inference network",
            workspace=workspace,
        )
        key = child_seed(seed, "memguard key")
        return MemGuardModel(target, network, self.search, self.budget, key)

    def restore(self, state: dict[str, Tensor]) -> MemGuardModel:
        """Rebuild target model and filter from `state`."""
        if "key" not in state:
            raise StoreError(f"This is not the state of MemGuard: it holds {sorted(state)[:5]}.")
        target = self.base.restore(select(state, "target"))
        factory = _network(target.num_classes)
        network = restore_network(factory, 1, select(state, "inference")).network
        return MemGuardModel(target, network, self.search, self.budget, int(state["key"]))


@dataclass(frozen=True, eq=False)
class MemGuardModel:
    """A target model whose predictions carry noise. The same query always gets the same answer.

    Attributes:
        target: the model behind the filter.
        inference: the defender's inference network, on sorted probabilities.
        search: how noise is searched for.
        budget: see `MemGuard`.
        key: of the hash that decides whether a query's noise is used.
    """

    target: StoredModel
    inference: nn.Module
    search: NoiseSearch
    budget: float | None
    key: int

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.target.num_classes

    @property
    def labels_of(self) -> StoredModel:
        """The target model, whose labels cost no search for noise."""
        return self.target

    def logits(self, x: Shaped[Tensor, "n *features"]) -> Float[Tensor, "n c"]:
        """Return the logarithms of the noisy probabilities."""
        parts = []
        for part in in_chunks(max(len(x), 1), _CHUNK):
            parts.append(self._filtered(x[part]))
        return torch.cat(parts)

    def _filtered(self, x: Shaped[Tensor, "n *features"]) -> Float[Tensor, "n c"]:
        original = self.target.logits(x)
        z, order = searchable(original)
        noisy, use = self.search.run(self.inference, z)
        log_p = original.log_softmax(dim=1)
        noisy = by_class(noisy, order).log_softmax(dim=1).float()
        if self.budget is not None:
            distortion = (noisy.exp() - log_p.exp()).abs().sum(dim=1)
            use &= uniform_by_content(x, self.key) * distortion < self.budget
        answer = torch.where(use[:, None], noisy, log_p)
        return predicting(answer, original.argmax(dim=1))

    def state(self) -> dict[str, Tensor]:
        """Return the target's state, the inference network's weights, the key and the settings."""
        tensors = {f"target/{name}": tensor for name, tensor in self.target.state().items()}
        tensors |= {f"inference/{name}": t for name, t in self.inference.state_dict().items()}
        # Filters of one target and network differ in these alone.
        settings = [math.inf if self.budget is None else self.budget, *astuple(self.search)]
        return tensors | {
            "key": torch.tensor(self.key),
            "settings": torch.tensor(settings, dtype=torch.float64),
        }


def searchable(
    logits: Float[Tensor, "n c"],
) -> tuple[Float[Tensor, "n c"], Int[Tensor, "n c"]]:
    """Return logits as `NoiseSearch.run` takes them, and the class of each place."""
    z, order = rising(logits.double())
    # A probability of 0 has the logit -inf, with which nothing can be computed.
    return torch.maximum(z, z[:, -1:] - _DEEPEST), order


def _network(num_classes: int) -> MLP:
    return MLP(num_classes, 1, hidden=_HIDDEN, activation="relu")


def _draw(records: Records, size: int, seed: int, side: str) -> Int[Tensor, " m"]:
    return torch.randperm(len(records), generator=torch_generator(seed, "memguard", side))[:size]


def _sorted_predictions(
    target: StoredModel, x: Shaped[Tensor, "n *features"]
) -> Float[Tensor, "n c"]:
    return target.logits(x).double().softmax(dim=1).sort(dim=1).values.float()
