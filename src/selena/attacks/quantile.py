"""Compares a record's confidence with that of similar non-members; no model is retrained.

QMIA: Bertran et al., "Scalable Membership Inference Attacks via Quantile Regression", NeurIPS
2023. A regressor learns from non-members the distribution of the target's confidence
phi = log(p / (1 - p)) in the label of a record with features x. A record is called a member if its
confidence is far above the usual one for its features. So the difficulty of a record, which
disturbs direct attacks, is estimated without reference models and without knowledge of the
training.

The paper fits the quantile at one false-positive rate. Here the score must rank records at every
rate, so location and scale are fitted (the paper's Gaussian form):

    score = (phi - mean(x, y)) / sd(x, y)

Tables: gradient boosting minimizes the pinball loss at the levels 0.16, 0.5 and 0.84; the mean is
the median, and sd is half of the distance between the outer two. Images: a small network minimizes
the negative log-likelihood of a normal distribution. The regressor also sees the label, which the
attacker knows.

Cost: 1 query per record, and 3 gradient boostings or 1 small network. No training of the target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor

from selena.attacks.holdout import check_share, hold_out
from selena.attacks.signals import confidence
from selena.errors import ConfigError
from selena.networks.score_network import ScoreNetwork
from selena.seeding import child_seed
from selena.training.batches import as_input
from selena.training.engine import fit_networks
from selena.training.forward import Forward
from selena.training.inference import predict
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
from selena.types import Access, Family, MembershipSets, Needs, Oracle, Records
from selena.workspace import Workspace

Regressor = Callable[[Records], tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]]
"""Maps records to the mean and the standard deviation of a non-member's confidence."""

_LEVELS = (0.16, 0.5, 0.84)
"""Quantiles of a normal distribution: one standard deviation below, the median, one above."""

_LEAST_SD = 0.1
"""Smallest sd as a share of all non-members' standard deviation; smaller ones are chance."""

_MOST_CATEGORIES = 255  # limit of scikit-learn's gradient boosting
_SURE = 100.0


@dataclass(frozen=True)
class QuantileAttack:
    """Scores a record by how unusually high its confidence is for a non-member like it.

    Attributes:
        rounds: trees per level, for tables.
        epochs: passes over the non-members, for images.
        learning_rate: learning rate of Adam, for images; trees take scikit-learn's 0.1.
        held_out: share of the known non-members that the regressor does not train on, in (0, 1).
            Thresholds are fitted on them and on all known members.
    """

    name: ClassVar[str] = "quantile"
    family: ClassVar[Family] = "direct"
    access: ClassVar[Access] = "logits"
    needs: ClassVar[Needs] = "features"

    _: KW_ONLY
    rounds: int = 100
    epochs: int = 60
    learning_rate: float = 1e-3
    held_out: float = 0.2

    def __post_init__(self) -> None:
        check_share(self.held_out)
        if self.rounds < 1:
            raise ConfigError(f"rounds is {self.rounds}; it must be at least 1.")
        self._recipe()  # checks the others

    def fit(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> QuantileScorer:
        """Train the regressor on known non-members.

        Raises:
            DataError: fewer than two known members or non-members.
        """
        train, rest = hold_out(known, self.held_out, seed)
        others, classes = train.non_members, oracle.num_classes
        said = _confidence(oracle, others).numpy()
        end = _clip_value(said)
        said = said.clip(-end, end)
        if others.x.ndim == 4:
            regress = self._network(others, said, classes, seed, workspace or Workspace())
        else:
            regress = _trees(others, said, classes, self.rounds, seed)
        least = max(_LEAST_SD * float(said.std()), 1e-6)
        calibration = MembershipSets(known.members, rest.non_members)
        return QuantileScorer(oracle, regress, end, least, calibration)

    def _network(
        self,
        others: Records,
        said: Float64[np.ndarray, " n"],
        num_classes: int,
        seed: int,
        workspace: Workspace,
    ) -> Regressor:
        center, unit = float(said.mean()), max(float(said.std()), 1e-6)
        target = torch.stack([torch.from_numpy((said - center) / unit), others.y.double()], dim=1)
        (network,) = fit_networks(
            ScoreNetwork(others.x.shape[1], num_classes),
            Examples(others.x, target.float()),
            [Job("quantile", torch.arange(len(others)), child_seed(seed, self.name))],
            self._recipe(),
            description="Regressor of non-members' confidences",
            workspace=workspace,
        )

        def regress(
            records: Records,
        ) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
            outputs = predict(network, records.x, device=workspace.device)
            mean, log_sd = _of_label(outputs, records.y)
            return (
                center + unit * mean.double().numpy(),
                unit * log_sd.double().exp().numpy(),
            )

        return regress

    def _recipe(self) -> Recipe:
        return Recipe(
            learning_rate=self.learning_rate,
            batch_size=64,
            epochs=self.epochs,
            weight_decay=1e-4,
            precision="float32",
            loss=NormalLikelihood(),
        )


@dataclass(frozen=True)
class NormalLikelihood:
    """The negative log-likelihood of a normal distribution, without its constant.

    A target is a pair: the number, and the label, which selects the outputs of the network.
    """

    def __call__(
        self,
        network: Forward,
        x: Float[Tensor, "b *features"],
        target: Shaped[Tensor, "b 2"],
        *,
        epoch: int,
    ) -> Float[Tensor, ""]:
        """Return the mean over a batch."""
        mean, log_sd = _of_label(network(x), target[:, 1].long())
        z = (target[:, 0] - mean) * torch.exp(-log_sd)
        return (log_sd + 0.5 * z**2).mean()


@dataclass(frozen=True)
class QuantileScorer:
    """Scores records by a regressor of non-members' confidences.

    Attributes:
        oracle: answers the queries.
        regress: gives mean and standard deviation for each record.
        end: confidences are clipped to [-end, end].
        least: smallest standard deviation.
        calibration: known members, and the known non-members outside of the training.
    """

    oracle: Oracle
    regress: Regressor
    end: float
    least: float
    calibration: MembershipSets

    def score(self, candidates: Records) -> Float[Tensor, " n"]:
        """Return by how many standard deviations a confidence is above the mean, float64."""
        said = _confidence(self.oracle, candidates).numpy().clip(-self.end, self.end)
        mean, sd = self.regress(candidates)
        return torch.from_numpy((said - mean) / np.maximum(sd, self.least))


def _confidence(oracle: Oracle, records: Records) -> Float[Tensor, " n"]:
    return confidence(oracle.logits(records.x), records.y)


def _clip_value(said: Float64[np.ndarray, " n"]) -> float:
    """Return where to clip confidences: half a step above the largest finite one.

    A forest of 100 trees answers 0.99 or 1. An infinite confidence would make means infinite.
    """
    finite = np.abs(said[np.isfinite(said)])
    return min(_SURE, float(finite.max(initial=0.0)) + float(np.log(2)))


def _of_label(
    outputs: Float[Tensor, "n c2"], labels: Shaped[Tensor, " n"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Return mean and log standard deviation, the latter clipped to a learnable range."""
    pairs = outputs.unflatten(1, (-1, 2))
    chosen = pairs.gather(1, labels[:, None, None].expand(-1, 1, 2)).squeeze(1)
    return chosen[:, 0], chosen[:, 1].clamp(-4, 4)


def _trees(
    others: Records, said: Float64[np.ndarray, " n"], num_classes: int, rounds: int, seed: int
) -> Regressor:
    # Imported here because the import takes half a second.
    from sklearn.ensemble import HistGradientBoostingRegressor

    inputs = _table(others)
    label = [inputs.shape[1] - 1] if num_classes <= _MOST_CATEGORIES else None
    fitted = [
        HistGradientBoostingRegressor(
            loss="quantile",
            quantile=level,
            max_iter=rounds,
            early_stopping=False,
            categorical_features=label,
            random_state=child_seed(seed, "quantile") % 2**32,
        ).fit(inputs, said)
        for level in _LEVELS
    ]

    def regress(records: Records) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
        table = _table(records)
        # Levels are fitted separately and may cross; sorting does not hurt (Chernozhukov et al.).
        low, median, high = np.sort([each.predict(table) for each in fitted], axis=0)
        return median, (high - low) / 2

    return regress


def _table(records: Records) -> Float[np.ndarray, "n d"]:
    features = as_input(records.x).flatten(1).double()
    return torch.cat([features, records.y.double()[:, None]], dim=1).numpy()
