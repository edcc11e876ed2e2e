"""HAMP: less confident training, and outputs that keep only the order of the classes.

Chen, Pattabiraman, "Overconfidence is a Dangerous Thing: Mitigating Membership Inference Attacks
by Enforcing Less Confident Prediction", NDSS 2024, Section III.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field, replace

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn.functional import one_hot

from selena.content.keyed import uniform_by_content
from selena.data.checks import check_records
from selena.defenses.filtered import FilteredModel
from selena.defenses.ranking import sort_ascending, unsort
from selena.defenses.single import fit_single
from selena.errors import ConfigError, StoreError, TrainingError
from selena.networks import NetworkFactory
from selena.seeding import child_seed, torch_generator
from selena.training.checkpoint import select
from selena.training.forward import Forward
from selena.training.losses import per_example_loss
from selena.training.model import restore_network
from selena.training.recipe import Recipe
from selena.types import Records
from selena.workspace import Workspace


@dataclass(frozen=True)
class EntropyRegularized:
    """Cross-entropy with soft labels minus `weight` times the prediction's entropy.

    Attributes:
        weight: of the entropy.
    """

    weight: float

    def __call__(
        self,
        network: Forward,
        x: Float[Tensor, "b *features"],
        target: Float[Tensor, "b c"],
        *,
        epoch: int,
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch, the same in every epoch."""
        log_p = network(x).log_softmax(dim=1)
        entropy = -(log_p.exp() * log_p).sum(dim=1)
        return (per_example_loss(log_p, target, "cross_entropy") - self.weight * entropy).mean()


@dataclass(frozen=True)
class HAMP:
    """Trains on high-entropy soft labels with an entropy bonus, and replaces output values.

    Attributes:
        network: builds the classifier.
        num_classes: number of classes.
        recipe: how it is trained.
        entropy_share: gamma, the entropy of a soft label as a share of the greatest possible,
            log c; in (0, 1).
        entropy_weight: alpha, weight of the prediction's entropy, >= 0.
        decoys: number of random inputs whose predictions replace the values of answers.
    """

    network: NetworkFactory
    num_classes: int
    recipe: Recipe
    _: KW_ONLY
    entropy_share: float = 0.8
    entropy_weight: float = 0.01
    decoys: int = 1000

    def __post_init__(self) -> None:
        if not 0 < self.entropy_share < 1:
            raise ConfigError(f"entropy_share is {self.entropy_share}; it lies in (0, 1).")
        if not self.entropy_weight >= 0 or self.decoys < 1:
            raise ConfigError(f"HAMP needs entropy_weight >= 0 and decoys >= 1; got {self}.")

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> HAMPModel:
        """Train on soft labels; `validation` gives the range of continuous random inputs."""
        check_records(train, num_classes=self.num_classes, what="training records")
        what = "validation records (for the range of HAMP's random inputs)"
        check_records(validation, num_classes=self.num_classes, what=what)
        of_label = soft_label_probability(self.entropy_share, self.num_classes)
        of_others = (1 - of_label) / (self.num_classes - 1)
        labels = one_hot(train.y, self.num_classes).float()
        target = fit_single(
            self.network,
            self.num_classes,
            replace(self.recipe, loss=EntropyRegularized(self.entropy_weight)),
            train,
            validation,
            name="hamp",
            seed=seed,
            targets=labels * (of_label - of_others) + of_others,
            workspace=workspace,
        )
        inputs = random_inputs(validation, self.decoys, seed)
        decoys, _ = sort_ascending(target.logits(inputs).log_softmax(dim=1))
        decoys = decoys[decoys[:, -1] > decoys[:, -2]]
        if len(decoys) == 0:
            raise TrainingError("HAMP: the model predicts no class for any random input.")
        return HAMPModel(target, decoys, child_seed(seed, "hamp key"))

    def restore(self, state: dict[str, Tensor]) -> HAMPModel:
        """Rebuild the model from its `state`."""
        if not {"decoys", "key"} <= set(state):
            raise StoreError(f"This is not the state of HAMP: it holds {sorted(state)[:5]}.")
        target = restore_network(self.network, self.num_classes, select(state, "target"))
        return HAMPModel(target, state["decoys"].cpu(), int(state["key"]))


@dataclass(frozen=True, eq=False)
class HAMPModel(FilteredModel):
    """Answers with the values of a random input's prediction, in the order of the model's own.

    No decoy has a tie at its top, so labels do not change.

    Attributes:
        decoys: logarithms of the predictions for random inputs, each in ascending order.
        key: key of the hash that picks the decoy of a query, the same at each call.
    """

    decoys: Float[Tensor, "d c"] = field(repr=False)
    key: int = field(repr=False)

    def logits(self, x: Shaped[Tensor, "n *features"]) -> Float[Tensor, "n c"]:
        """Return the logarithms of the answer's probabilities."""
        _, order = sort_ascending(self.target.logits(x))
        drawn = (uniform_by_content(x, self.key) * len(self.decoys)).long()
        return unsort(self.decoys[drawn], order)


def soft_label_probability(entropy_share: float, num_classes: int) -> float:
    """Return p such that (p, the rest spread evenly) has entropy `entropy_share` * log c."""
    # Imported here because every command imports this file.
    from scipy.optimize import brentq

    others = num_classes - 1

    def excess(p: float) -> float:
        entropy = -p * math.log(p) - (1 - p) * math.log((1 - p) / others)
        return entropy - entropy_share * math.log(num_classes)

    return float(brentq(excess, 1 / num_classes, 1 - 1e-12))


def random_inputs(like: Records, n: int, seed: int) -> Shaped[Tensor, "n *features"]:
    """Draw inputs uniformly: bits, pixels, or values in the range of `like`."""
    generator = torch_generator(seed, "hamp decoys")
    shape = (n, *like.x.shape[1:])
    if like.x.dtype == torch.uint8:
        highest = 256 if like.x.ndim == 4 else 2
        return torch.randint(highest, shape, generator=generator, dtype=torch.uint8)
    low, high = like.x.amin(dim=0), like.x.amax(dim=0)
    return low + (high - low) * torch.rand(shape, generator=generator)
