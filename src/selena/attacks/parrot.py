"""Attacks a distilled student by its answers about other records near the record in question.

Jagielski et al., "Students Parrot Their Teachers: Membership Inference on Model Distillation",
NeurIPS 2023. A student repeats its teachers' knowledge, also about records on which it was not
trained: its answer about x' reveals whether the teacher that labelled x' trained on a record x near
x'. Adapted to SELENA: the soft label of a training record x' comes from its L non-models, and
1 - L/K of those (60 %) trained on any other member x. So the attack combines the student's answer
about x with its answers about the known records nearest to x, whose own membership the attacker
knows. Reference models repeat the whole defense, with its K and L.

For a known record j and each model, phi_j is log(p / (1 - p)) of j's label minus its mean over the
reference models that treat j alike (trained on it, or not). Let d_j be the difference of the means
of phi_j between reference models that trained on x and those that did not, and s^2 the variance
around these means. Then

    score(x) = LiRA(x) + sum over the nearest j of (d_j w / s^2) (phi_j - middle of the two means).

With few reference models d_j is imprecise. So it is shrunk by w = t^2 / (t^2 + its sampling
variance), where t^2 is the mean over all pairs of d_j^2 minus that variance (empirical Bayes). If
neighbors reveal nothing, w is 0 and LiRA remains.

Cost: the trainings of `lira` and `rmia`, which it shares; 1 query per known record and per record.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from selena.attacks.pool_index import PoolIndex, content_names
from selena.attacks.reference_training import (
    Training,
    check_runs,
    pool_of,
    set_aside,
    train_reference_matrix,
)
from selena.attacks.signals import confidence
from selena.errors import ConfigError
from selena.training.batches import as_input, in_chunks
from selena.types import Access, Family, MembershipSets, Needs, Oracle, Records, concatenate
from selena.workspace import Workspace

_SURE = 100.0
_AT_ONCE = 256  # records scored at once, with distances and answers of neighbors in memory
_LEAST_VARIANCE = 1e-6
_FARTHEST = 3.0  # standard deviations


@dataclass(frozen=True)
class ParrotAttack:
    """Scores a record by the target's answers about it and about its nearest known records.

    Attributes:
        defense: how a reference model is trained; against SELENA, SELENA.
        nearest: number of nearest known records to use per record.
        own: whether the answer about the record itself counts (LiRA), or only those about
            other records.
        runs: number of reference models, an even number from 4 on.
        reference_seed: root of the models' draws; attacks that share it share the models.
    """

    name: ClassVar[str] = "parrot"
    family: ClassVar[Family] = "reference-model"
    access: ClassVar[Access] = "logits"
    needs: ClassVar[Needs] = "training"

    defense: Training
    _: KW_ONLY
    nearest: int = 8
    own: bool = True
    runs: int = 16
    reference_seed: int = 0

    def __post_init__(self) -> None:
        if self.nearest < 1:
            raise ConfigError(f"nearest is {self.nearest}; it must be at least 1.")
        check_runs(self.runs)

    def fit(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> ParrotScorer:
        """Train the reference models, or find them, and ask about the known records.

        Raises:
            DataError: `known` holds no candidates or too few records, or no features.
        """
        validation, asked = set_aside(known, self.reference_seed)
        told, pool = concatenate(asked.all_members, asked.non_members), pool_of(asked)
        references = train_reference_matrix(
            self.defense,
            pool,
            validation,
            runs=self.runs,
            seed=self.reference_seed,
            workspace=workspace or Workspace(),
        )
        confidences = np.clip(np.asarray(references.confidences, dtype=float), -_SURE, _SURE)
        return ParrotScorer(
            settings=self,
            oracle=oracle,
            confidences=confidences,
            inside=np.asarray(references.inside),
            index=PoolIndex(content_names(pool.x, pool.y)),
            told=told,
            answers=_beyond_own(
                np.vstack([confidences[:, : len(told)], _confidence(oracle, told)]),
                np.vstack(
                    [
                        np.asarray(references.inside)[:, : len(told)],
                        np.arange(len(told)) < len(asked.all_members),
                    ]
                ),
            ),
            calibration=asked,
        )


@dataclass(frozen=True)
class ParrotScorer:
    """Scores records by the answers of the target and of the reference models.

    Attributes:
        settings: the attack's settings.
        oracle: gives the target's answers.
        confidences: confidences of each reference model about each record of the pool, runs x pool.
        inside: whether the model trained on the record, runs x pool.
        index: finds a record of the pool.
        told: the known records, the first of the pool.
        answers: phi of the known records, one row per model; the last row is the target's.
        calibration: the known records except those set aside.
    """

    settings: ParrotAttack
    oracle: Oracle
    confidences: Float64[np.ndarray, "r n"]
    inside: Bool[np.ndarray, "r n"]
    index: PoolIndex
    told: Records
    answers: Float64[np.ndarray, "s m"]
    calibration: MembershipSets

    def score(self, candidates: Records) -> Float[Tensor, " n"]:
        """Return the statistic of each candidate, float64.

        Raises:
            DataError: a record that was not among the candidates when the models were trained.
        """
        places = self.index.places(candidates).numpy()
        scores = np.concatenate(
            [
                self._of_others(candidates.take(torch.arange(part.start, part.stop)), places[part])
                for part in in_chunks(len(places), _AT_ONCE)
            ]
        )
        if self.settings.own:
            scores += self._of_its_own(candidates, places)
        return torch.from_numpy(scores)

    def _of_its_own(
        self, records: Records, places: Int[np.ndarray, " n"]
    ) -> Float64[np.ndarray, " n"]:
        """Return LiRA's score, with one variance per side for the whole pool."""
        said, likelihoods = _confidence(self.oracle, records), []
        for side in (self.inside, ~self.inside):
            counts = side.sum(axis=0)
            means = (self.confidences * side).sum(axis=0) / counts
            squares = ((self.confidences - means) ** 2 * side).sum() / (counts - 1).sum()
            variance = max(float(squares), _LEAST_VARIANCE)
            likelihoods.append(
                -0.5 * (said - means[places]) ** 2 / variance - 0.5 * np.log(variance)
            )
        evidence: Float64[np.ndarray, " n"] = np.subtract(*likelihoods)
        return evidence

    def _of_others(
        self, records: Records, places: Int[np.ndarray, " b"]
    ) -> Float64[np.ndarray, " b"]:
        near = self._nearest(records, places)
        answers = self.answers[:, near]  # models x b x k, the target last
        inside = self.inside[:, places, None]
        effect, middle, variance, sampling = _effects(answers[:-1], inside)
        weight = self._trust / np.maximum(self._trust + sampling, _LEAST_VARIANCE)
        # Clipped, so that a target unlike all reference models does not get an extreme score.
        most = _FARTHEST * np.sqrt(variance)
        beyond = np.clip(answers[-1] - middle, -most, most)
        evidence: Float64[np.ndarray, " b"] = (weight * effect / variance * beyond).sum(axis=1)
        return evidence

    def _nearest(self, records: Records, places: Int[np.ndarray, " b"]) -> Int[np.ndarray, "b k"]:
        """Return the places of the nearest known records, without the record itself."""
        x, others = (as_input(each.x).flatten(1).double() for each in (records, self.told))
        gaps = torch.cdist(x, others, compute_mode="donot_use_mm_for_euclid_dist")
        same = torch.from_numpy(places)[:, None] == torch.arange(len(self.told))
        gaps = torch.where(same, torch.inf, gaps)
        order = gaps.argsort(dim=1, stable=True)  # the first of equally near ones
        return order[:, : min(self.settings.nearest, len(self.told) - 1)].numpy()

    @cached_property
    def _trust(self) -> float:
        """t^2: mean square of the effects minus their sampling variance, over known records."""
        parts = []
        for part in in_chunks(len(self.told), _AT_ONCE):
            rows = np.arange(part.start, part.stop)
            near = self._nearest(self.told.take(torch.from_numpy(rows)), rows)
            effect, _, _, sampling = _effects(self.answers[:-1, near], self.inside[:, rows, None])
            parts.append((effect**2 - sampling).mean(axis=1))
        return max(0.0, float(np.concatenate(parts).mean()))


def _confidence(oracle: Oracle, records: Records) -> Float64[np.ndarray, " n"]:
    said = confidence(oracle.logits(records.x), records.y).clamp(-_SURE, _SURE)
    return np.asarray(said.numpy())


def _beyond_own(
    confidences: Float64[np.ndarray, "s m"], inside: Bool[np.ndarray, "s m"]
) -> Float64[np.ndarray, "s m"]:
    """Return confidences minus the mean of the reference models that treat the record alike.

    The last row is the target's; the means do not include it.
    """
    rest = confidences.copy()
    for side in (inside, ~inside):
        counted = side[:-1]
        mean = (confidences[:-1] * counted).sum(axis=0) / np.maximum(counted.sum(axis=0), 1)
        rest -= np.where(side, mean, 0.0)
    return rest


def _effects(
    answers: Float64[np.ndarray, "r b k"], inside: Bool[np.ndarray, "r b 1"]
) -> tuple[Float64[np.ndarray, "b k"], ...]:
    """Return the effects of training on a record on answers about other records.

    Returns:
        The difference of means (in - out), their middle, the variance around them, and the
        sampling variance of the difference.
    """
    n_in, n_out = inside.sum(axis=0), (~inside).sum(axis=0)
    mean_in = (answers * inside).sum(axis=0) / n_in
    mean_out = (answers * ~inside).sum(axis=0) / n_out
    around = np.where(inside, answers - mean_in, answers - mean_out)
    free = (len(answers) - 2) * answers.shape[2]  # two means were fitted per answer
    squares = (around**2).sum(axis=(0, 2))[:, None] / free
    variance = np.broadcast_to(np.maximum(squares, _LEAST_VARIANCE), mean_in.shape)
    return mean_in - mean_out, (mean_in + mean_out) / 2, variance, variance * (1 / n_in + 1 / n_out)
