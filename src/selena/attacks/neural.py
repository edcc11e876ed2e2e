"""A neural network that tells members from non-members by what the target answers.

Nasr, Shokri, Houmansadr 2018, as used by Tang et al. 2022, Section 5.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from selena.errors import ConfigError, DataError
from selena.seeding import child_seed, torch_generator
from selena.training.engine import fit_networks, predict
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
from selena.types import Access, Family, Knowledge, Oracle, Records
from selena.workspace import Workspace

Observe = Callable[[Records], Float[Tensor, "n w"]]
"""What the attacker sees of each record, as one row of numbers (a prediction, a difference)."""


@dataclass(frozen=True)
class MembershipNetwork:
    """Builds the attack network: `towers`, whose output ranks, and a sigmoid for the loss.

    Attributes:
        observed: width of what is observed of a record; the number of classes for a prediction.
        num_classes: number of classes, the width of the one-hot label.
    """

    observed: int
    num_classes: int

    def __call__(self) -> nn.Sequential:
        """Build a network; weights are drawn from N(0, 0.01²), biases are 0."""
        network = nn.Sequential(_Towers(self.observed, self.num_classes), nn.Sigmoid())
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=0.01)
        return network


class _Towers(nn.Module):
    """Three towers on (n, observed + classes): observation and one-hot label, then both joined."""

    def __init__(self, observed: int, num_classes: int) -> None:
        super().__init__()
        self._widths = [observed, num_classes]
        self.observation = _tower(observed, 1024, 512, 64)
        self.label = _tower(num_classes, 128, 64)
        self.joined = nn.Sequential(*_tower(128, 512, 256, 128, 64), nn.Linear(64, 1))

    def forward(self, x: Tensor) -> Tensor:
        observation, label = torch.split(x, self._widths, dim=1)
        both = torch.cat([self.observation(observation), self.label(label)], dim=1)
        output: Tensor = self.joined(both)
        return output


def _tower(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(len(widths) - 1):
        layers += [nn.Linear(widths[i], widths[i + 1]), nn.ReLU()]
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class NeuralAttack:
    """Learns from prediction vector and label of known members and non-members.

    Attributes:
        epochs: passes over the known records that it trains on.
        batch_size: records a step; the paper's is the classifier's.
        learning_rate: of Adam.
        held_out: share of the known records that it does not train on, in (0, 1); thresholds
            are fitted on them. The last epoch is kept: nothing is selected.
    """

    epochs: int = 150
    batch_size: int = 512
    learning_rate: float = 1e-4
    held_out: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise ConfigError(f"held_out is {self.held_out}; it is a share between 0 and 1.")
        self._recipe()  # checks the others

    @property
    def name(self) -> str:
        """The name it has in reports."""
        return "neural"

    @property
    def family(self) -> Family:
        """A direct single-query attack."""
        return "direct"

    @property
    def access(self) -> Access:
        """It needs the prediction vector."""
        return "logits"

    def fit(
        self, oracle: Oracle, known: Knowledge, *, seed: int, workspace: Workspace | None = None
    ) -> NeuralScorer:
        """Train on the target's predictions for known records.

        Raises:
            DataError: fewer than two known members or non-members.
        """

        def observe(records: Records) -> Float[Tensor, "n w"]:
            return oracle.logits(records.x).double().softmax(dim=1).float()

        return self.fit_on(observe, oracle.num_classes, known, seed=seed, workspace=workspace)

    def fit_on(
        self,
        observe: Observe,
        num_classes: int,
        known: Knowledge,
        *,
        seed: int,
        workspace: Workspace | None = None,
    ) -> NeuralScorer:
        """Train on any observation of known records, for attacks that see more than a prediction.

        Args:
            observe: gives one row of numbers a record.
            num_classes: number of classes.
            known: members and non-members; as many of each are trained on.
            seed: root of every draw.
            workspace: device, progress, and the folder for the finished network.

        Raises:
            DataError: fewer than two known members or non-members.
        """
        workspace = workspace or Workspace()
        train, calibration = _hold_out(known, self.held_out, seed)
        records, truth = train.joined()
        x = _inputs(observe(records), records, num_classes)
        (network,) = fit_networks(
            MembershipNetwork(x.shape[1] - num_classes, num_classes),
            Examples(x, truth.float()),
            [Job(self.name, torch.arange(len(x)), child_seed(seed, self.name))],
            self._recipe(),
            description="Attack network",
            workspace=workspace,
        )
        return NeuralScorer(network, observe, num_classes, calibration, workspace.device)

    def _recipe(self) -> Recipe:
        # float32: bf16 has no room between 0.999 and 1, where members' predictions lie.
        return Recipe(
            optimizer="adam",
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            epochs=self.epochs,
            loss="mse",
            precision="float32",
        )


@dataclass(frozen=True)
class NeuralScorer:
    """A trained attack network.

    Attributes:
        network: from `MembershipNetwork`.
        observe: what it sees of a record.
        num_classes: number of classes.
        calibration: the known records that it was not trained on.
        device: where it computes.
    """

    network: nn.Module
    observe: Observe
    num_classes: int
    calibration: Knowledge
    device: str = "cpu"

    def score(self, candidates: Records) -> Float[Tensor, " n"]:
        """Return the network's output before the sigmoid, which would round sure cases to 1."""
        x = _inputs(self.observe(candidates), candidates, self.num_classes)
        towers = self.network.get_submodule("0")
        return predict(towers, x, device=self.device).squeeze(1).double()


def _inputs(
    observed: Float[Tensor, "n w"], records: Records, num_classes: int
) -> Float[Tensor, "n v"]:
    label = functional.one_hot(records.y, num_classes)
    return torch.cat([observed.float(), label.float()], dim=1)


def _hold_out(known: Knowledge, share: float, seed: int) -> tuple[Knowledge, Knowledge]:
    """Split known records into a training part, balanced, and all the rest."""
    fewest = min(len(known.members), len(known.non_members))
    if fewest < 2:
        raise DataError(
            f"The neural attack knows {len(known.members)} members and "
            f"{len(known.non_members)} non-members; it needs at least two of each, to train on "
            "some and fit thresholds on others."
        )
    size = min(max(round((1 - share) * fewest), 1), fewest - 1)
    parts = []
    for side, records in (("members", known.members), ("non-members", known.non_members)):
        order = torch.randperm(len(records), generator=torch_generator(seed, "hold-out", side))
        parts.append((records.take(order[:size]), records.take(order[size:])))
    (members, spare_members), (non_members, spare_non_members) = parts
    return Knowledge(members, non_members), Knowledge(spare_members, spare_non_members)
