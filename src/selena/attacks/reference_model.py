"""Compares the target's answer with answers of reference models that saw the record, or did not.

LiRA (Carlini et al., "Membership Inference Attacks From First Principles", S&P 2022), RMIA
(Zarifzadeh et al., "Low-Cost High-Power Membership Inference Attacks", ICML 2024), BASE (Lassila
et al. 2025), BaVarIA (Braennvall 2026) and empirical Bayes (`selena.attacks.empirical_bayes`). The
comparison removes the difficulty of a record, which disturbs every direct attack, and finds the few
records that a model remembers. So these attacks are the ones to use where false positives must be
rare.

`ReferenceModelAttack` trains the reference models, on halves of the scored records.
`ReferenceMatrixAttack` takes a matrix of existing models and asks one query per record.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from selena.attacks.reference_answers import Pooled, evaluate
from selena.attacks.reference_copies import Copies
from selena.attacks.reference_matrix import ReferenceMatrix
from selena.attacks.reference_scores import shares_beaten
from selena.attacks.reference_statistics import StatisticName, StatisticSettings
from selena.attacks.reference_training import (
    Training,
    check_runs,
    pool_of,
    set_aside,
    train_reference_matrix,
)
from selena.attacks.reference_variance import pooling
from selena.attacks.signals import confidence
from selena.errors import ConfigError
from selena.types import Access, Family, MembershipSets, Needs, Oracle, Records
from selena.workspace import Progress, Silent, Workspace


@dataclass(frozen=True)
class ReferenceModelAttack(StatisticSettings):
    """Scores a record by the target's confidence in its label, compared with reference models.

    Attributes:
        defense: how a reference model is trained; against a defended target, its defense. It
            needs no more than `fit`.
        statistic: "lira", the log-likelihood ratio of two normal distributions of the confidence,
            fitted to models that saw the record and to those that did not; "rmia", the logarithm
            of p / mean of p over all models, where p is the probability of the label; "base", the
            same by another derivation, with an unmodified mean offline; "bavaria", LiRA for few
            models, with variances shrunk toward that of all records; or "empirical_bayes", LiRA
            whose means and variances are shrunk toward those of records that answer alike.
        runs: number of reference models, an even number; half of them see a given record and are
            not used offline.
        copies: changed copies to ask about besides each record; 0 for none.
        copy_kind: "auto" for the usual kind of the features, or "flip", "noise" or "shift".
        copy_size: bits, standard deviations or pixels; 0 for 1 bit, 0.02 or 1 pixel.
        reference_seed: root of the models' draws; attacks that share it share the models.
    """

    family: ClassVar[Family] = "reference-model"
    access: ClassVar[Access] = "logits"
    needs: ClassVar[Needs] = "training"

    defense: Training
    statistic: StatisticName = "lira"
    _: KW_ONLY
    runs: int = 16
    copies: int = 0
    copy_kind: str = "auto"
    copy_size: float = 0.0
    reference_seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.defense, type) or hasattr(self.defense, "predict_proba"):
            raise ConfigError(
                f"defense={self.defense!r} is no training of this library. Pass a defense, such as "
                "Undefended(...); wrap a scikit-learn classifier in EstimatorTraining(classifier)."
            )
        self.check(self.statistic)
        check_runs(self.runs)
        if self.copies < 0:
            raise ConfigError(f"copies is {self.copies}; it must be at least 0 (none).")

    @property
    def name(self) -> str:
        """The statistic's name, with "_offline" where models that saw a record are not used."""
        return self.called(self.statistic)

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
        workspace = workspace or Workspace()
        validation, asked = set_aside(known, self.reference_seed)
        copies = None
        if self.copies:
            copies = Copies.fitting(
                pool_of(asked),
                self.copies,
                kind=self.copy_kind,
                size=self.copy_size,
                seed=self.reference_seed,
            )
        references = train_reference_matrix(
            self.defense,
            pool_of(asked),
            validation,
            runs=self.runs,
            seed=self.reference_seed,
            workspace=workspace,
            copies=copies,
        )
        return ReferenceModelScorer(
            self, self.statistic, oracle, references, asked, workspace.progress
        )


@dataclass(frozen=True)
class ReferenceMatrixAttack(StatisticSettings):
    """Scores a record by the target's confidence, compared with a given reference matrix.

    Attributes:
        references: the matrix; its names find the records that are scored.
        statistic: as of `ReferenceModelAttack`.
    """

    family: ClassVar[Family] = "reference-model"
    access: ClassVar[Access] = "logits"

    references: ReferenceMatrix
    statistic: StatisticName = "lira"

    def __post_init__(self) -> None:
        self.check(self.statistic)

    @property
    def needs(self) -> Needs:
        """Only answers, unless the reference models were asked about changed copies."""
        return "predictions" if self.references.copies is None else "features"

    @property
    def name(self) -> str:
        """The statistic's name, with "_offline" where models that saw a record are not used."""
        return self.called(self.statistic)

    def fit(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> ReferenceModelScorer:
        """Return the scorer; nothing is trained.

        Raises:
            DataError: the matrix has no names, a known record is not in it, or a record has too few
                models on a side that is needed.
        """
        progress = (workspace or Workspace()).progress
        scorer = ReferenceModelScorer(
            self, self.statistic, oracle, self.references, known, progress
        )
        scorer.check()
        return scorer


@dataclass(frozen=True)
class ReferenceModelScorer:
    """Scores records by the answers of the target and of the reference models.

    Attributes:
        settings: the attack's settings.
        statistic: the statistic to compute.
        oracle: gives the target's answers.
        references: answers of the reference models.
        calibration: the known records except those set aside; the reference models trained on
            halves of them, as of the candidates.
        progress: shows the progress of the queries.
    """

    settings: StatisticSettings
    statistic: StatisticName
    oracle: Oracle
    references: ReferenceMatrix
    calibration: MembershipSets
    progress: Progress = field(default_factory=Silent)

    def score(self, candidates: Records) -> Float[Tensor, " n"]:
        """Return the statistic of each candidate, float64.

        Raises:
            DataError: a record that was not among the candidates when the models were trained.
        """
        scores = self._evaluate(candidates)
        if self._population is not None:
            scores = shares_beaten(scores, self._population, self.settings.gamma)
        return torch.from_numpy(scores)

    def check(self) -> None:
        """Raise `DataError` unless the matrix holds the known records and enough models."""
        self.references.places(self.calibration.joined()[0])
        if len(self.references):
            self.references.all_answers(online=self.settings.online, least=self._least)

    def _evaluate(self, records: Records) -> Float64[np.ndarray, " n"]:
        places = self.references.places(records).numpy()
        answers = self.references.answers(
            self._ask(records).numpy(), places, online=self.settings.online, least=self._least
        )
        statistic = self.settings.bind(self.statistic)
        return evaluate(answers, statistic, self._pooled)

    def _ask(self, records: Records) -> Float64[Tensor, "n q"]:
        if self.references.copies is not None:
            return self.references.copies.ask(self.oracle.logits, records, self.progress)
        return confidence(self.oracle.logits(records.x), records.y)[:, None]

    @property
    def _least(self) -> int:
        return 1 if self.statistic in ("rmia", "base") else 2

    @cached_property
    def _pooled(self) -> Pooled | None:
        """What all records of the pool say together, or None if nothing is needed."""
        answers = self.references.all_answers(online=self.settings.online, least=self._least)
        return pooling(self.statistic, self.settings.variance, answers)(answers)

    @cached_property
    def _population(self) -> Float64[np.ndarray, " m"] | None:
        """RMIA's ratios of the known non-members, if they are its population."""
        if not self.settings.population or self.statistic not in ("rmia", "base"):
            return None
        return self._evaluate(self.calibration.non_members)
