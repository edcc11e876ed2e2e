"""Compares the target's answer with those of reference models that did, or did not, see it.

LiRA (Carlini et al., "Membership Inference Attacks From First Principles", S&P 2022) and RMIA
(Zarifzadeh et al., "Low-Cost High-Power Membership Inference Attacks", ICML 2024), both online: the
models train on halves of the very records in question. How hard a record is by itself, which blurs
every direct attack, cancels out; what is left are the few records that a model remembers. So these
are the attacks to look at for true positives at low false-positive rates. The papers also ask about
augmented copies of a record; here one plain answer is asked.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from math import log
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from selena.attacks.reference_training import (
    ReferenceModels,
    Training,
    set_aside,
    train_reference_models,
)
from selena.errors import ConfigError
from selena.signals import confidence
from selena.types import Access, Family, MembershipSets, Needs, Oracle, Records
from selena.workspace import Workspace

Statistic = Literal["lira", "rmia"]
Spread = Literal["auto", "shared", "own"]

_ENOUGH_RUNS = 64
"""From so many models on, a record has a spread of its own (best in Carlini et al. 2022)."""
_LEAST_SPREAD = 1e-3


@dataclass(frozen=True)
class ReferenceModelAttack:
    """Scores a record by the target's confidence in its label against that of reference models.

    Attributes:
        defense: how a reference model is trained; against a defended target, its defense. It
            needs no more than `fit`.
        statistic: "lira", the log-likelihood ratio of two normal distributions of the confidence,
            fitted to models that saw the record and to those that did not; or "rmia", the logarithm
            of p / mean of p over all models, p the probability of the label.
        runs: how many reference models are trained, an even number; half of them see a given
            record.
        spread: of LiRA's distributions: "own" of each record, "shared" by all records, or "auto"
            for "own" from 64 models on.
        reference_seed: root of the models' draws; attacks that share it share the models.
    """

    family: ClassVar[Family] = "reference-model"
    access: ClassVar[Access] = "logits"
    needs: ClassVar[Needs] = "training"

    defense: Training
    statistic: Statistic = "lira"
    _: KW_ONLY
    runs: int = 16
    spread: Spread = "auto"
    reference_seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.defense, type) or hasattr(self.defense, "predict_proba"):
            raise ConfigError(
                f"defense={self.defense!r} is no training of this library. Pass a defense, such as "
                "Undefended(...), and a scikit-learn classifier as EstimatorTraining(classifier)."
            )
        if self.statistic not in ("lira", "rmia"):
            raise ConfigError(f"statistic={self.statistic!r} is unknown; use lira or rmia.")
        if self.spread not in ("auto", "shared", "own"):
            raise ConfigError(f"spread={self.spread!r} is unknown; use auto, shared or own.")
        if self.runs < 4 or self.runs % 2:
            raise ConfigError(
                f"runs is {self.runs}; give an even number from 4 on: halves of the records come "
                "in pairs, and a spread takes two values."
            )

    @property
    def name(self) -> str:
        """The statistic's name."""
        return self.statistic

    def fit(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> ReferenceModelScorer:
        """Train the reference models, or find them.

        Raises:
            DataError: `known` holds no candidates or too few records, or no features.
        """
        validation, asked = set_aside(known, self.reference_seed)
        runs = train_reference_models(
            self.defense,
            asked,
            validation,
            self.runs,
            seed=self.reference_seed,
            workspace=workspace or Workspace(),
        )
        return ReferenceModelScorer(self, oracle, runs, asked)


@dataclass(frozen=True)
class ReferenceModelScorer:
    """The target and the reference models.

    Attributes:
        settings: the attack's.
        oracle: gives the target's answers.
        runs: the reference models.
        calibration: the known records except those set aside: the models trained on halves of
            them, as of the candidates.
    """

    settings: ReferenceModelAttack
    oracle: Oracle
    runs: ReferenceModels
    calibration: MembershipSets

    def score(self, candidates: Records) -> Float[Tensor, " n"]:
        """Return the statistic of each candidate, float64.

        Raises:
            DataError: a record that was not among the candidates when the models were trained.
        """
        said = confidence(self.oracle.logits(candidates.x), candidates.y)
        observed = said.clamp(-self.runs.end, self.runs.end)
        confidences, inside = self.runs.about(candidates)
        if self.settings.statistic == "rmia":
            return rmia(observed, confidences)
        shared = self.runs if self._is_shared else None
        return lira(observed, confidences, inside, shared)

    @property
    def _is_shared(self) -> bool:
        if self.settings.spread == "auto":
            return self.settings.runs < _ENOUGH_RUNS
        return self.settings.spread == "shared"


def rmia(observed: Float[Tensor, " n"], confidences: Float[Tensor, "r n"]) -> Float[Tensor, " n"]:
    """Return log p - log(mean of p over the models), p the probability of the label.

    Zarifzadeh et al. 2024 compare this ratio with that of population records z and
    score by Pr_z(ratio(x) / ratio(z) >= gamma). Since the z are the same for all x, this share
    rises with ratio(x). It ranks records as the ratio does, except for ties: no z and no gamma are
    needed where thresholds are fitted.

    Args:
        observed: log-odds of the label by the target.
        confidences: the same by each reference model.
    """
    expected = torch.logsumexp(logsigmoid(confidences), dim=0) - log(len(confidences))
    return logsigmoid(observed) - expected


def lira(
    observed: Float[Tensor, " n"],
    confidences: Float[Tensor, "r n"],
    inside: Bool[Tensor, "r n"],
    shared: ReferenceModels | None,
) -> Float[Tensor, " n"]:
    """Return log N(observed; in) - log N(observed; out) (Carlini et al. 2022, Algorithm 1).

    Args:
        observed: log-odds of the label by the target.
        confidences: the same by each reference model.
        inside: which models saw the record.
        shared: models over whose records the spread is averaged; None for each record's own.
    """
    likelihoods = []
    for side in (inside, ~inside):
        mean, spread = _normal(confidences, side)
        if shared is not None:
            of_all = shared.inside if side is inside else ~shared.inside
            spread = _normal(shared.confidences, of_all)[1].square().mean().sqrt()
        spread = spread.clamp(min=_LEAST_SPREAD)
        likelihoods.append(-0.5 * ((observed - mean) / spread).square() - spread.log())
    return likelihoods[0] - likelihoods[1]


def _normal(
    confidences: Float[Tensor, "r n"], side: Bool[Tensor, "r n"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Return mean and standard deviation of each record over the models of one side."""
    count = side.sum(dim=0)
    mean = (confidences * side).sum(dim=0) / count
    variance = ((confidences - mean).square() * side).sum(dim=0) / (count - 1)
    return mean, variance.sqrt()
