"""MemGuard: noise on each prediction that makes a membership inference network undecided.

Jia et al., "MemGuard: Defending against Black-Box Membership Inference Attacks via Adversarial
Examples", CCS 2019. The model and its predicted classes do not change. So accuracy stays the same,
and label-only attacks are as strong as before.
"""

from __future__ import annotations

import logging
import math
from dataclasses import KW_ONLY, astuple, dataclass, field, replace

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from selena.content.keyed import uniform_by_content
from selena.data.checks import check_records
from selena.defenses.memguard_noise import NoiseSearch
from selena.defenses.ranking import keep_argmax, sort_ascending, unsort
from selena.errors import ConfigError, StoreError
from selena.networks.mlp import MLP
from selena.seeding import child_seed, torch_generator
from selena.training.batches import in_chunks
from selena.training.checkpoint import select
from selena.training.engine import fit_networks
from selena.training.job import Examples, Job
from selena.training.model import restore_network
from selena.training.recipe import Recipe
from selena.types import Defense, Records, StoredModel
from selena.workspace import Workspace

_HIDDEN = (256, 128, 64)
_CHUNK = 2048
_DEEPEST = 200.0
TRIED = 200
"""Most records of the defender on which noise is tried; it must be found for nine in ten."""
_ENOUGH = 0.9

_LOG = logging.getLogger(__name__)


def _default_recipe() -> Recipe:
    # float32, because bf16 has too few numbers between 0.999 and 1, where members' predictions are.
    # Weight decay keeps the network smooth; without it most searches for noise get stuck.
    return Recipe(
        batch_size=64,
        epochs=10,
        weight_decay=1e-3,
        loss="binary_cross_entropy",
        precision="float32",
    )


@dataclass(frozen=True)
class MemGuard:
    """Fits any defense, then adds noise to its predictions that misleads an attack network.

    Attributes:
        base: what trains the target model (in the paper `Undefended`).
        inference: how the inference network is trained, on as many members as reference records,
            with binary cross-entropy and Adam; batch, epochs and weight decay are ours. The default
            decay keeps its accuracy on the defender's held-out records, and noise is found for all
            of these.
        weaker_decays: weight decays to try next, in turn, if noise is found for less than 90 % of
            the defender's own records; the best one is used. With few records, or a model that
            reveals little, a strong decay leaves a network whose decision noise cannot change.
        search: settings of the search for noise.
        budget: epsilon, the largest expected L1 distance between noisy and true probabilities, in
            (0, 2]; noise r is then used with probability min(1, epsilon / ||r||_1) (Section 4.2).
            None always uses it, as Tang et al. 2022 do.
    """

    base: Defense
    _: KW_ONLY
    inference: Recipe = field(default_factory=_default_recipe)
    weaker_decays: tuple[float, ...] = (1e-4, 0.0)
    search: NoiseSearch = field(default_factory=NoiseSearch)
    budget: float | None = None

    def __post_init__(self) -> None:
        if self.budget is not None and not 0 < self.budget <= 2:
            raise ConfigError(f"budget is {self.budget}; give an L1 distance in (0, 2], or None.")
        if self.inference.loss != "binary_cross_entropy":
            raise ConfigError("MemGuard's inference network needs the loss binary_cross_entropy.")

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> MemGuardModel:
        """Fit the target model, then the inference network; `validation` is its reference set.

        Raises:
            DataError: no reference records, or invalid records.
        """
        workspace = workspace or Workspace()
        target = self.base.fit(train, validation, seed=seed, workspace=workspace)
        check_records(
            validation, num_classes=target.num_classes, what="MemGuard's reference records"
        )
        size = min(len(train), len(validation))
        sides = {"members": train, "references": validation}
        logits = torch.cat(
            [
                target.logits(records.x[_draw(records, size, seed, side)])
                for side, records in sides.items()
            ]
        )
        network = self._inference_network(logits, seed, workspace)
        key = child_seed(seed, "memguard key")
        return MemGuardModel(target, network, self.search, self.budget, key)

    def _inference_network(
        self, logits: Float[Tensor, "n c"], seed: int, workspace: Workspace
    ) -> nn.Module:
        """Train it on the target's answers; the first half are answers to members."""
        n = len(logits)
        x = logits.double().softmax(dim=1).sort(dim=1).values.float()
        examples = Examples(x, (torch.arange(n) < n // 2).float())
        tried = torch.linspace(0, n - 1, min(n, TRIED)).long()
        best: tuple[float, nn.Module] | None = None
        for decay in (self.inference.weight_decay, *self.weaker_decays):
            (network,) = fit_networks(
                _network(logits.shape[1]),
                examples,
                [Job("memguard", torch.arange(n), child_seed(seed, "memguard"))],
                replace(self.inference, weight_decay=decay),
                description="MemGuard's inference network",
                workspace=workspace,
            )
            _, found = self.search.run(network, searchable(logits[tried])[0])
            share = float(found.double().mean())
            if best is None or share > best[0]:
                best = share, network
            if share >= _ENOUGH:
                break
        assert best is not None
        if best[0] < _ENOUGH:
            _LOG.warning(
                "MemGuard finds noise for only %.0f %% of the defender's own records; other "
                "answers stay without noise.",
                100 * best[0],
            )
        return best[1]

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
    """A target model with noisy predictions; the same query always gets the same answer.

    Attributes:
        target: the model behind the filter.
        inference: the defender's inference network, on sorted probabilities.
        search: settings of the search for noise.
        budget: see `MemGuard`.
        key: key of the hash that decides whether a query's noise is used.
    """

    target: StoredModel
    inference: nn.Module = field(repr=False)
    search: NoiseSearch = field(repr=False)
    budget: float | None
    key: int = field(repr=False)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.target.num_classes

    @property
    def labels_of(self) -> StoredModel:
        """The target model, whose labels need no search for noise."""
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
        noisy = unsort(noisy, order).log_softmax(dim=1).float()
        if self.budget is not None:
            distortion = (noisy.exp() - log_p.exp()).abs().sum(dim=1)
            use &= uniform_by_content(x, self.key) * distortion < self.budget
        answer = torch.where(use[:, None], noisy, log_p)
        return keep_argmax(answer, original.argmax(dim=1))

    def state(self) -> dict[str, Tensor]:
        """Return the target's state, the inference network's weights, the key and the settings."""
        tensors = {f"target/{name}": tensor for name, tensor in self.target.state().items()}
        tensors |= {f"inference/{name}": t for name, t in self.inference.state_dict().items()}
        # Two filters of one target and network differ only in these settings.
        settings = [math.inf if self.budget is None else self.budget, *astuple(self.search)]
        return tensors | {
            "key": torch.tensor(self.key),
            "settings": torch.tensor(settings, dtype=torch.float64),
        }


def searchable(
    logits: Float[Tensor, "n c"],
) -> tuple[Float[Tensor, "n c"], Int[Tensor, "n c"]]:
    """Return logits as `NoiseSearch.run` takes them, and the class of each place."""
    z, order = sort_ascending(logits.double())
    # A probability of 0 has the logit -inf, which breaks the search.
    return torch.maximum(z, z[:, -1:] - _DEEPEST), order


def _network(num_classes: int) -> MLP:
    return MLP(num_classes, 1, hidden=_HIDDEN, activation="relu")


def _draw(records: Records, size: int, seed: int, side: str) -> Int[Tensor, " m"]:
    return torch.randperm(len(records), generator=torch_generator(seed, "memguard", side))[:size]
