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
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selena.attacks.reference_scores import (
    MODELS_FOR_OWN_VARIANCE,
    lira_statistic,
    pooled_variance,
    rmia_statistic,
)
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
Variance = Literal["auto", "shared", "record"]


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
        variance: of LiRA's distributions: "record" for one per record, "shared" for one of all
            records, or "auto" for "record" from 64 models on.
        reference_seed: root of the models' draws; attacks that share it share the models.
    """

    family: ClassVar[Family] = "reference-model"
    access: ClassVar[Access] = "logits"
    needs: ClassVar[Needs] = "training"

    defense: Training
    statistic: Statistic = "lira"
    _: KW_ONLY
    runs: int = 16
    variance: Variance = "auto"
    reference_seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.defense, type) or hasattr(self.defense, "predict_proba"):
            raise ConfigError(
                f"defense={self.defense!r} is no training of this library. Pass a defense, such as "
                "Undefended(...), and a scikit-learn classifier as EstimatorTraining(classifier)."
            )
        if self.statistic not in ("lira", "rmia"):
            raise ConfigError(f"statistic={self.statistic!r} is unknown; use lira or rmia.")
        if self.variance not in ("auto", "shared", "record"):
            raise ConfigError(f"variance={self.variance!r} is unknown; use auto, shared or record.")
        if self.runs < 4 or self.runs % 2:
            raise ConfigError(
                f"runs is {self.runs}; give an even number from 4 on: halves of the records come "
                "in pairs, and a variance takes two values."
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
        observed = said.clamp(-self.runs.end, self.runs.end).numpy()
        confidences, inside = (each.numpy() for each in self.runs.about(candidates))
        if self.settings.statistic == "rmia":
            scores = rmia_statistic(observed, confidences, [np.ones_like(inside)])
        else:
            scores = lira_statistic(observed, confidences, [inside, ~inside], self._pooled)
        return torch.from_numpy(scores)

    @cached_property
    def _pooled(self) -> list[float | None]:
        """Per side the variance of all records of the pool, or None where each has its own."""
        few = len(self.runs.inside) < MODELS_FOR_OWN_VARIANCE
        if self.settings.variance == "record" or (self.settings.variance == "auto" and not few):
            return [None, None]
        confidences, inside = self.runs.confidences.numpy(), self.runs.inside.numpy()
        return [pooled_variance(confidences, side) for side in (inside, ~inside)]
