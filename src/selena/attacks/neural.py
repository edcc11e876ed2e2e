"""A neural network that tells members from non-members by the target's answers.

Nasr, Shokri, Houmansadr 2018, as used by Tang et al. 2022, Section 5.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from itertools import accumulate
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from selena.attacks.holdout import check_share, hold_out
from selena.errors import ConfigError
from selena.networks.membership import MembershipNetwork
from selena.seeding import child_seed
from selena.training.batches import in_answer_chunks
from selena.training.engine import fit_networks
from selena.training.inference import predict
from selena.training.job import Examples, Job
from selena.training.plans import Plan
from selena.training.recipe import Recipe
from selena.types import Access, Dataset, Family, MembershipSets, Needs, Oracle, Records
from selena.workspace import Workspace

Observe = Callable[[Records], Float[Tensor, "n w"]]
"""Maps records to what the attacker sees, one row of numbers each (a prediction, a difference)."""


@dataclass(frozen=True)
class NeuralAttack:
    """Trains a network to tell members by prediction vector and label.

    Attributes:
        epochs: passes over the known records that it trains on.
        batch_size: records per step, half of them members; in the paper the classifier's.
        learning_rate: learning rate of Adam.
        held_out: share of the known records that it does not train on, in (0, 1); thresholds
            are fitted on them. The last epoch is used; no epoch is selected.
        max_members: most members, and as many non-members, to train on, drawn at random;
            thresholds are fitted on the others. The paper's attackers train on fewer.
    """

    name: ClassVar[str] = "neural"
    family: ClassVar[Family] = "direct"
    access: ClassVar[Access] = "logits"
    needs: ClassVar[Needs] = "predictions"

    _: KW_ONLY
    epochs: int = 150
    batch_size: int = 512
    learning_rate: float = 1e-4
    held_out: float = 0.2
    max_members: int = 10_000

    @classmethod
    def from_plan(cls, plan: Plan, data: Dataset) -> NeuralAttack:
        """Return the attack in batches of the classifier's size."""
        return cls(batch_size=plan.training.batch_size)

    def __post_init__(self) -> None:
        check_share(self.held_out)
        if self.batch_size < 2:
            raise ConfigError(f"batch_size is {self.batch_size}; one pair needs at least 2.")
        if self.max_members < 1:
            raise ConfigError(f"max_members is {self.max_members}; train on at least 1.")
        self._recipe()  # checks the others

    def fit(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> NeuralScorer:
        """Train on the target's predictions for known records.

        Raises:
            DataError: fewer than two known members or non-members.
        """
        workspace = workspace or Workspace()
        return self.prepare(oracle, known, seed=seed, workspace=workspace).train([], workspace)[0]

    def prepare(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> NeuralFitting:
        """Ask for the target's predictions on known records; see `fit`."""

        def observe(records: Records) -> Float[Tensor, "n w"]:
            chunks = in_answer_chunks(len(records), oracle.num_classes)
            answers = (oracle.logits(records.x[chunk]) for chunk in chunks)
            return torch.cat([each.double().softmax(dim=1).float() for each in answers])

        return self.prepare_on(observe, oracle.num_classes, known, seed=seed)

    def prepare_on(
        self,
        observe: Observe,
        num_classes: int,
        known: MembershipSets,
        *,
        seed: int,
        vectors: int = 1,
    ) -> NeuralFitting:
        """Observe known records, for attacks that see something other than one prediction.

        Args:
            observe: gives one row of numbers per record.
            num_classes: number of classes.
            known: members and non-members; equally many of both are trained on.
            seed: root of every draw.
            vectors: number of equally long vectors in a row of numbers, one tower for each.

        Raises:
            DataError: fewer than two known members or non-members.
        """
        train, calibration = hold_out(known, self.held_out, seed, self.max_members)
        members, non_members = (
            _inputs(observe(records), records, num_classes)
            for records in (train.members, train.non_members)
        )
        # With subjects of unequal size one side may have some more rows.
        rows = min(len(members), len(non_members))
        return NeuralFitting(
            MembershipNetwork((members.shape[1] - num_classes) // vectors, num_classes, vectors),
            torch.stack([members[:rows], non_members[:rows]], dim=1),
            self._recipe(),
            child_seed(seed, self.name),
            observe,
            calibration,
        )

    def _recipe(self) -> Recipe:
        # float32, because bf16 has too few numbers between 0.999 and 1, where members' answers are.
        return Recipe(
            optimizer="adam",
            learning_rate=self.learning_rate,
            batch_size=self.batch_size // 2,
            epochs=self.epochs,
            loss="mse",
            precision="float32",
        )


@dataclass(frozen=True, eq=False)
class NeuralFitting:
    """An attack network to train, and its training data.

    An example is a pair of a member and a non-member, so every batch is balanced. In unbalanced
    batches the network, which first answers 0.5 to everything, follows the majority of each batch
    and often dies (every ReLU at 0) before it learns anything.

    Attributes:
        network: builds the attack network.
        pairs: its inputs for known members (first) and non-members (second).
        recipe: how it is trained.
        seed: root of its draws.
        observe: maps records to what the attacker sees.
        calibration: the known records that it does not train on.
    """

    network: MembershipNetwork
    pairs: Float[Tensor, "n 2 v"]
    recipe: Recipe
    seed: int
    observe: Observe
    calibration: MembershipSets

    def train(
        self, others: Sequence[NeuralFitting], workspace: Workspace
    ) -> Sequence[NeuralScorer]:
        """Train its network and those of `others`, side by side if they have one shape."""
        fittings = [self, *others]
        scorers: dict[int, NeuralScorer] = {}
        shapes = dict.fromkeys((fitting.network, fitting.recipe) for fitting in fittings)
        for shape in shapes:
            which = [i for i, f in enumerate(fittings) if (f.network, f.recipe) == shape]
            alike = [fittings[i] for i in which]
            scorers |= dict(zip(which, _train_alike(alike, workspace), strict=True))
        return [scorers[i] for i in range(len(fittings))]


def _train_alike(fittings: Sequence[NeuralFitting], workspace: Workspace) -> list[NeuralScorer]:
    first = fittings[0]
    ends = list(accumulate(len(fitting.pairs) for fitting in fittings))
    every = torch.arange(ends[-1])
    if workspace.torch_device.type == "cpu" and not workspace.cohort_size:
        # One at a time, so that results do not depend on which attacks still have to train; on a
        # processor a stack of these would not be faster.
        workspace = replace(workspace, cohort_size=1)
    networks = fit_networks(
        first.network,
        Examples(
            torch.cat([fitting.pairs for fitting in fittings]),
            torch.tensor([1.0, 0.0]).expand(ends[-1], 2),
        ),
        [
            Job("neural", every[end - len(fitting.pairs) : end], fitting.seed)
            for fitting, end in zip(fittings, ends, strict=True)
        ],
        first.recipe,
        description="Attack network" if len(fittings) == 1 else f"{len(fittings)} attack networks",
        workspace=workspace,
    )
    return [
        # Without the sigmoid.
        NeuralScorer(
            network.get_submodule("0"),
            fitting.observe,
            fitting.network.num_classes,
            fitting.calibration,
            workspace.device,
        )
        for network, fitting in zip(networks, fittings, strict=True)
    ]


@dataclass(frozen=True)
class NeuralScorer:
    """A trained attack network.

    Attributes:
        towers: the trained `MembershipNetwork` without its sigmoid.
        observe: maps records to what it sees.
        num_classes: number of classes.
        calibration: the known records that it was not trained on.
        device: where it computes.
    """

    towers: nn.Module
    observe: Observe
    num_classes: int
    calibration: MembershipSets
    device: str = "cpu"

    def score(self, candidates: Records) -> Float[Tensor, " n"]:
        """Return the output before the sigmoid, which would round confident ones to 1."""
        rows = torch.arange(len(candidates))
        chunks = in_answer_chunks(len(rows), self.num_classes)
        return torch.cat([self._score(candidates.take(rows[chunk])) for chunk in chunks])

    def _score(self, candidates: Records) -> Float[Tensor, " n"]:
        x = _inputs(self.observe(candidates), candidates, self.num_classes)
        return predict(self.towers, x, device=self.device).squeeze(1).double()


def _inputs(
    observed: Float[Tensor, "n w"], records: Records, num_classes: int
) -> Float[Tensor, "n v"]:
    label = functional.one_hot(records.y, num_classes)
    return torch.cat([observed.float(), label.float()], dim=1)
