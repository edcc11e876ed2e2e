"""Split-AI: an ensemble in which every training record is answered by models that never saw it.

Tang et al., USENIX Security 2022, Section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from selena.content.keyed import ContentIndex, content_digests, group_by_content, l_of_k
from selena.content.near_duplicates import NearDuplicates, check_near_duplicates, join_near
from selena.content.non_model_sets import NonModelSets
from selena.data.checks import check_records
from selena.data.subjects import join_subjects
from selena.errors import ConfigError, StoreError
from selena.networks import NetworkFactory
from selena.seeding import child_seed, torch_generator
from selena.training.batches import in_chunks
from selena.training.engine import fit_networks
from selena.training.inference import predict_rows
from selena.training.job import Examples, Job
from selena.training.model import restore_network
from selena.training.plans import Plan
from selena.training.recipe import Recipe
from selena.types import Dataset, Records
from selena.workspace import Workspace

_CHUNK = 8192


@dataclass(frozen=True)
class SplitAI:
    """Trains K sub-models and answers each member by the L of them that never saw it.

    Exact queries of members are protected; queries near a member are not. A subject with several
    records is not protected either: one set of L sub-models answers all records of a training
    subject, while each record of another person gets a different set. The spread of the answers
    tells the two apart.

    Near copies among the training records share their L sub-models. In queries only exact records
    are recognized, as in the paper. To recognize near queries the ensemble would have to store the
    members, and the limit of "near" would reveal where they are. Distil it (`Selena`) before you
    publish it.

    Attributes:
        network: builds a sub-model.
        num_classes: number of classes.
        recipe: how each sub-model is trained.
        n_submodels: number of sub-models.
        n_nonmodels: number of sub-models that do not train on a given record; 1 <= l < k.
        near_duplicates: which training records share a draw because they are near copies: "auto"
            finds them by gaps among distances, "exact" takes only equal records, and a number is
            the largest distance (see `selena.content.near_duplicates`).
    """

    network: NetworkFactory
    num_classes: int
    recipe: Recipe
    _: KW_ONLY
    n_submodels: int = 25
    n_nonmodels: int = 10
    near_duplicates: NearDuplicates = "auto"

    @classmethod
    def from_plan(cls, plan: Plan, data: Dataset) -> SplitAI:
        """Return the ensemble that `plan` describes."""
        return cls(
            plan.network(data),
            data.num_classes,
            plan.training,
            n_submodels=plan.n_submodels,
            n_nonmodels=plan.n_nonmodels,
            near_duplicates=plan.near_duplicates,
        )

    def __post_init__(self) -> None:
        check_sizes(self.n_submodels, self.n_nonmodels)
        check_near_duplicates(self.near_duplicates)

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> SplitAIModel:
        """Draw the non-model sets and train the K sub-models."""
        workspace = workspace or Workspace()
        check_records(train, num_classes=self.num_classes, what="training records")
        sets = draw_non_model_sets(
            train,
            self.n_submodels,
            self.n_nonmodels,
            near_duplicates=self.near_duplicates,
            seed=seed,
        )
        jobs = [
            Job(f"submodel-{i}", ~sets.without(i), child_seed(seed, "submodel", i))
            for i in range(self.n_submodels)
        ]
        submodels = fit_networks(
            self.network,
            Examples(train.x, train.y),
            jobs,
            self.recipe,
            validation=Examples(validation.x, validation.y),
            description=f"Split-AI, {self.n_submodels} sub-models",
            workspace=workspace,
        )
        key = child_seed(seed, "content key")
        index = ContentIndex(content_digests(train.x, key), key)
        return SplitAIModel(submodels, sets, index, self.num_classes, workspace.device)

    def restore(self, state: dict[str, Tensor]) -> SplitAIModel:
        """Rebuild the ensemble from its `state`."""
        weights: list[dict[str, Tensor]] = [{} for _ in range(self.n_submodels)]
        rest: dict[str, Tensor] = {}
        for name, tensor in state.items():
            if name.startswith("submodel/"):
                _, number, parameter = name.split("/", 2)
                weights[int(number)][parameter] = tensor
            else:
                rest[name] = tensor
        if set(rest) != {"non_models", "digests", "key"}:
            raise StoreError(f"This is not the state of a Split-AI: it holds {sorted(rest)}.")
        models = [restore_network(self.network, self.num_classes, w) for w in weights]
        return SplitAIModel(
            [model.network for model in models],
            NonModelSets(rest["non_models"].cpu(), self.n_submodels),
            ContentIndex(rest["digests"].cpu(), int(rest["key"])),
            self.num_classes,
            models[0].device,
        )


@dataclass(frozen=True, eq=False)
class SplitAIModel:
    """The trained ensemble with adaptive inference (paper, Algorithm 1).

    Attributes:
        submodels: the K networks.
        sets: which sub-models never saw which training record.
        index: finds a training record by content.
        num_classes: number of classes.
        device: where it computes.
    """

    submodels: Sequence[nn.Module] = field(repr=False)
    sets: NonModelSets
    index: ContentIndex = field(repr=False)
    num_classes: int
    device: str = "cpu"

    def logits(self, x: Shaped[Tensor, "n *features"]) -> Float[Tensor, "n c"]:
        """Return the logarithm of the mean prediction of each query's L sub-models.

        The non-models of a training record answer it. The non-models of a training record that is
        drawn by a keyed hash answer any other input.
        """
        answering = self.sets.take(self.index.answering_rows(x))
        return mean_prediction(self.submodels, x, answering, self.num_classes, self.device).log()

    def state(self) -> dict[str, Tensor]:
        """Return the sub-models' weights, the non-model sets and the content index."""
        tensors = {
            f"submodel/{i}/{name}": tensor
            for i, submodel in enumerate(self.submodels)
            for name, tensor in submodel.state_dict().items()
        }
        return tensors | {
            "non_models": self.sets.bits,
            "digests": self.index.digests,
            "key": torch.tensor(self.index.key),
        }


def check_sizes(n_submodels: int, n_nonmodels: int) -> None:
    """Raise `ConfigError` unless 1 <= L < K."""
    if not 1 <= n_nonmodels < n_submodels:
        raise ConfigError(
            f"Split-AI needs 1 <= L < K: each record is left out by L of the K sub-models and "
            f"trained on by the others. Got "
            f"n_submodels={n_submodels}, n_nonmodels={n_nonmodels}."
        )


def draw_non_model_sets(
    train: Records,
    n_submodels: int,
    n_nonmodels: int,
    *,
    near_duplicates: NearDuplicates = "exact",
    seed: int,
) -> NonModelSets:
    """Draw for each record, uniformly without replacement, L of the K sub-models.

    Records of equal content, of one subject, and near copies share one draw; otherwise a sub-model
    that must not see one of them would train on the other. Near copies take the draw of one of
    them, so the draws of all other records do not change.
    """
    check_sizes(n_submodels, n_nonmodels)
    contents = group_by_content(train.x).numpy()
    unit = contents
    if train.subjects is not None:
        unit = join_subjects(contents, train.subjects.numpy())
    generator = torch_generator(seed, "non-model sets")
    bits = torch.zeros(int(unit.max()) + 1, (n_submodels + 7) // 8, dtype=torch.uint8)
    # One generator continues over the chunks, so chunks get the same draws as all rows at once.
    for part in in_chunks(len(bits), _CHUNK):
        order = torch.rand(len(bits[part]), n_submodels, generator=generator).argsort(dim=1)
        bits[part] = NonModelSets.pack(torch.from_numpy(l_of_k(order.numpy(), n_nonmodels))).bits
    near = join_near(train.x, contents, unit, near_duplicates)
    return NonModelSets(bits[torch.from_numpy(near)], n_submodels)


def mean_prediction(
    submodels: Sequence[nn.Module],
    x: Shaped[Tensor, "n *features"],
    answering: NonModelSets,
    num_classes: int,
    device: str,
) -> Float[Tensor, "n c"]:
    """Return for each record the mean softmax output of its non-models.

    One pass per sub-model over the records that it answers; memory is n x c for any K.
    """
    total = torch.zeros(len(x), num_classes)
    for i, submodel in enumerate(submodels):
        rows = torch.nonzero(answering.without(i)).squeeze(1)
        for part, logits in predict_rows(submodel, x, rows, device=device):
            total[part] += logits.softmax(dim=1)
    return total.div_(answering.l)
