"""Judges a confidence by what the model says to non-members like it; no model is retrained.

QMIA: Bertran et al., "Scalable Membership Inference Attacks via Quantile Regression", NeurIPS
2023. A regressor learns from non-members which confidences phi = log(p / (1 - p)) of the label the
target gives to a record with features x. A record whose confidence is far above what is usual for
its features is called a member. So the difficulty of a record, which blurs direct attacks, is
estimated without reference models and without knowing how the target was trained.

The paper fits the quantile at one false-positive rate. Here the score must rank records at every
rate, so location and scale are fitted (the paper's Gaussian form):

    score = (phi - mean(x, y)) / sd(x, y)

Tables: gradient boosting minimizes the pinball loss at the levels 0.16, 0.5 and 0.84; the mean is
the median, and sd is half of the distance between the outer two. Images: a small network minimizes
the negative log-likelihood of a normal distribution. The regressor sees the label as well as x,
since the attacker knows it.

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
"""The median, and what lies one standard deviation of a normal distribution around it."""

_LEAST_SD = 0.1
"""Of all non-members' standard deviation: few of them are alike, so a smaller one is luck."""

_MOST_CATEGORIES = 255  # more are no categories to scikit-learn's gradient boosting
_SURE = 100.0


@dataclass(frozen=True)
class QuantileAttack:
    """Scores a record by how unusual its confidence is among non-members with its features.

    Attributes:
        rounds: trees per level, for tables.
        epochs: passes over the non-members, for images.
        learning_rate: of the network for images, by Adam; trees take scikit-learn's 0.1.
        held_out: share of the known non-members that the regressor does not learn from, in (0, 1).
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
        """Learn what the target says to known non-members; no known member is learned from.

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

    A target is a pair: the number, and the label that says which outputs of the network count.
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
    """A regressor of non-members' confidences, and the target.

    Attributes:
        oracle: answers the queries.
        regress: gives mean and standard deviation for each record.
        end: confidences end here, in both directions.
        least: the least standard deviation.
        calibration: known members, and the known non-members that were not learned from.
    """

    oracle: Oracle
    regress: Regressor
    end: float
    least: float
    calibration: MembershipSets

    def score(self, candidates: Records) -> Float[Tensor, " n"]:
        """Return by how many standard deviations a confidence is too high, float64."""
        said = _confidence(self.oracle, candidates).numpy().clip(-self.end, self.end)
        mean, sd = self.regress(candidates)
        return torch.from_numpy((said - mean) / np.maximum(sd, self.least))


def _confidence(oracle: Oracle, records: Records) -> Float[Tensor, " n"]:
    return confidence(oracle.logits(records.x), records.y)


def _clip_value(said: Float64[np.ndarray, " n"]) -> float:
    """Return where confidences end that are as coarse as these: half a step above the last finite.

    A forest of 100 trees says 0.99 or 1. Were the latter worth infinity, means would be too.
    """
    finite = np.abs(said[np.isfinite(said)])
    return min(_SURE, float(finite.max(initial=0.0)) + float(np.log(2)))


def _of_label(
    outputs: Float[Tensor, "n c2"], labels: Shaped[Tensor, " n"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Return mean and log standard deviation, the latter within what a batch of 64 can learn."""
    pairs = outputs.unflatten(1, (-1, 2))
    chosen = pairs.gather(1, labels[:, None, None].expand(-1, 1, 2)).squeeze(1)
    return chosen[:, 0], chosen[:, 1].clamp(-4, 4)


def _trees(
    others: Records, said: Float64[np.ndarray, " n"], num_classes: int, rounds: int, seed: int
) -> Regressor:
    # Here, for it takes half a second to import.
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
        # Levels are fitted apart and may cross; in order they are no worse (Chernozhukov et al.).
        low, median, high = np.sort([each.predict(table) for each in fitted], axis=0)
        return median, (high - low) / 2

    return regress


def _table(records: Records) -> Float[np.ndarray, "n d"]:
    features = as_input(records.x).flatten(1).double()
    return torch.cat([features, records.y.double()[:, None]], dim=1).numpy()
