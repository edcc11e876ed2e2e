"""Fits attacks and scores records; attacks get shuffled candidates and never the truth."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from selena.auditing.oracle import MeteredOracle, labelling
from selena.data.subjects import count_units, units
from selena.environment.fingerprint import TRAINING_CODE, code_digest, fingerprint, tensor_digest
from selena.environment.processor import numeric_environment
from selena.errors import DataError, StoreError
from selena.seeding import child_seed, torch_generator
from selena.training.model import MemoizedTarget
from selena.types import (
    Attack,
    MembershipSets,
    Records,
    Scorer,
    StoredModel,
    TargetModel,
    TrainingAttack,
    concatenate,
)
from selena.workspace import Workspace

# Code that scores depend on; figures are not kept, so the code that computes them is not listed.
_SCORING_CODE = ("attacks", "auditing/oracle.py", "auditing/scoring.py", "metrics")

_LARGE = 1e300  # a sum of some million of them is finite
_OF_SCORED = {"scores": "float64", "truth": "bool", "labels": "int64", "ids": "int64"}
_FACTS = ("truth", "labels", "ids")


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of some records with the truth about them; a subject is listed as its first record.

    Attributes:
        scores: float64; higher = member. For a subject the mean of its records' scores.
        truth: True for members.
        labels: the records' classes.
        ids: the records' row numbers in their data set.
    """

    scores: Float[np.ndarray, " n"]
    truth: Bool[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]
    ids: Int[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class AttackScores:
    """The scores of one attack, and its costs.

    Attributes:
        calibration: scores on known records, for fitting thresholds and choosing attacks.
        evaluation: scores on evaluation records.
        known_records: number of records that the attacker knew, including training records.
        queries: records asked about, including fitting.
        seconds: wall-clock time, including fitting.
        canaries: scores on canaries, if there are any.
        evaluation_records: number of records behind `evaluation`, where a subject with several
            records has one score.
    """

    calibration: Scored
    evaluation: Scored
    known_records: int
    queries: int
    seconds: float
    canaries: Scored | None = None
    evaluation_records: int | None = None

    @property
    def all_records(self) -> int:
        """Number of records that the attacker knew or scored."""
        scored = self.evaluation_records or len(self.evaluation.truth)
        return self.known_records + scored + (len(self.canaries.truth) if self.canaries else 0)


def balanced(knowledge: MembershipSets, *, seed: int) -> MembershipSets:
    """Return as many members as non-members; the larger side is sampled without replacement.

    A subject counts as one and stays whole. The other members become `extra_members`.
    """
    n = min(count_units(knowledge.members), count_units(knowledge.non_members))
    if n == 0:
        raise DataError(
            f"{len(knowledge.members)} members and {len(knowledge.non_members)} non-members: an "
            "attack needs at least one of each."
        )

    def draw(records: Records, side: str) -> tuple[Records, Records | None]:
        count = count_units(records)
        if count == n:
            return records, None
        order = torch.randperm(count, generator=torch_generator(seed, "balance", side))
        drawn = torch.isin(torch.from_numpy(units(records)), order[:n])
        return records.take(drawn), records.take(~drawn)

    members, extra_members = draw(knowledge.members, "members")
    return MembershipSets(members, draw(knowledge.non_members, "others")[0], extra_members)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted attack and what fitting cost.

    Attributes:
        scorer: gives the scores.
        oracle: what it asks, and counts.
        seconds: wall-clock time of fitting; attacks fitted together get equal shares.
    """

    scorer: Scorer
    oracle: MeteredOracle
    seconds: float


@dataclass(frozen=True, eq=False)
class AuditContext:
    """The context that all attacks of an audit share.

    Attributes:
        target: the model under attack.
        memo: the target with a memory of its last answers.
        known: the records that the attacker knows.
        evaluation: the records that are scored.
        seed: root of the audit's draws.
        workspace: device, progress, and a folder for what attacks train and for scores from
            labels only, which a model shares with filters in front of it.
        kept: a folder where scores of a `StoredModel` are kept, and found again by the same
            attack code for the same model, records and seed.
        canaries: planted records, scored separately. Attacks do not see their subjects, because
            only canaries in the training set may share one with a copy.
    """

    target: TargetModel
    memo: MemoizedTarget
    known: MembershipSets
    evaluation: MembershipSets
    seed: int
    workspace: Workspace
    kept: Workspace
    canaries: MembershipSets | None = None

    def told(self, attack: Attack) -> MembershipSets:
        """Return the attacker's view: the known records, and for some attacks the candidates.

        Only attacks that train models for the candidates get them, to save a copy of all records.
        """
        if attack.needs != "training":
            return self.known
        records = concatenate(*(each.joined()[0] for each in self._scored))
        order = torch.randperm(len(records), generator=torch_generator(self.seed, "candidates"))
        subjects = concatenate(self.known.all_members, self.known.non_members).subjects
        unused = 0 if subjects is None else int(subjects.max()) + 1
        return replace(self.known, candidates=_unnamed(records.take(order), unused))

    @cached_property
    def _first(self) -> dict[str, Scored]:
        return {}

    @property
    def _scored(self) -> list[MembershipSets]:
        return [self.evaluation] if self.canaries is None else [self.evaluation, self.canaries]

    def fit(self, attack: Attack) -> Fitted:
        """Fit an attack on the known records."""
        oracle, start = MeteredOracle(self.target, attack.access, self.memo), time.perf_counter()
        known = self.told(attack)
        scorer = attack.fit(oracle, known, seed=self._seed(attack), workspace=self.workspace)
        return Fitted(scorer, oracle, time.perf_counter() - start)

    def fit_together(self, attacks: Sequence[TrainingAttack]) -> list[Fitted]:
        """Fit attacks that train networks; fittings of one type train side by side."""
        start = time.perf_counter()
        oracles = [MeteredOracle(self.target, attack.access, self.memo) for attack in attacks]
        fittings = [
            attack.prepare(
                oracle, self.told(attack), seed=self._seed(attack), workspace=self.workspace
            )
            for attack, oracle in zip(attacks, oracles, strict=True)
        ]
        scorers: dict[int, Scorer] = {}
        for kind in dict.fromkeys(map(type, fittings)):
            which = [i for i, fitting in enumerate(fittings) if type(fitting) is kind]
            first, *others = (fittings[i] for i in which)
            scorers |= zip(which, first.train(others, self.workspace), strict=True)
        share = (time.perf_counter() - start) / max(1, len(attacks))
        return [Fitted(scorers[i], oracle, share) for i, oracle in enumerate(oracles)]

    def score(self, attack: Attack, fitted: Fitted) -> AttackScores:
        """Score known and evaluation records and canaries, and keep the scores."""
        start, scorer = time.perf_counter(), fitted.scorer

        def scored(records: MembershipSets, which: str) -> Scored:
            found = _score(scorer, records, attack.name, self.seed, which)
            return _sharing(found, self._first.setdefault(which, found))

        calibration = scored(scorer.calibration, "calibration")
        evaluation = scored(self.evaluation, "evaluation")
        canaries = None if self.canaries is None else scored(self.canaries, "canaries")
        result = AttackScores(
            calibration,
            evaluation,
            known_records=len(self.known.members) + len(self.known.non_members),
            queries=fitted.oracle.queries,
            seconds=fitted.seconds + time.perf_counter() - start,
            canaries=canaries,
            evaluation_records=len(self.evaluation.members) + len(self.evaluation.non_members),
        )
        artifact = self._artifact_name(attack)
        if artifact is not None:
            for place in self._places(attack):
                place.save(artifact, pack_scores(result))
        return result

    def find(self, attack: Attack) -> AttackScores | None:
        """Return the attack's scores if they were kept."""
        artifact = self._artifact_name(attack)
        places = [] if artifact is None else self._places(attack)
        found = [(place, place.load(str(artifact))) for place in places]
        scores = next((each for _, each in found if each is not None), None)
        if scores is None:
            return None
        for place, each in found:
            if each is None:
                place.save(str(artifact), scores)
        return unpack_scores(scores)

    def _places(self, attack: Attack) -> list[Workspace]:
        """Return the workspaces for its scores; scores from labels are shared with filters."""
        return [self.kept, self.workspace] if attack.access == "label" else [self.kept]

    def _seed(self, attack: Attack) -> int:
        return child_seed(self.seed, "attack", attack.name)

    def _artifact_name(self, attack: Attack) -> str | None:
        identity = self._identity_of_labels if attack.access == "label" else self._identity
        if identity is None:
            return None
        return f"{attack.name}-{fingerprint(attack, *identity)[:24]}"

    @cached_property
    def _identity(self) -> tuple[object, ...] | None:
        """What scores depend on besides the attack; None if it is unknown."""
        return self._identify(self.target)

    @cached_property
    def _identity_of_labels(self) -> tuple[object, ...] | None:
        """The same for attacks that need only labels, which a filter does not change."""
        return self._identify(labelling(self.target))

    def _identify(self, model: TargetModel) -> tuple[object, ...] | None:
        if not isinstance(model, StoredModel):
            return None
        records = [self.known.all_members, self.known.non_members]
        records += [each.joined()[0] for each in self._scored]
        return (
            {name: tensor_digest(tensor) for name, tensor in sorted(model.state().items())},
            [tensor_digest(*r.tensors) for r in records],
            [len(each.members) for each in (self.known, *self._scored)],
            self.seed,
            code_digest(*_SCORING_CODE, *TRAINING_CODE),
            numeric_environment(self.workspace.device),
        )


def score_attacks(scene: AuditContext, attacks: Sequence[Attack]) -> dict[str, AttackScores]:
    """Fit the attacks and return their scores by name, in order; kept scores are reused.

    Attacks that train networks are fitted last, together.
    """
    found = {attack.name: scene.find(attack) for attack in attacks}
    with scene.workspace.progress.step("Attacks", len(attacks)) as bar:
        bar.advance(sum(scores is not None for scores in found.values()))
        pending = [attack for attack in attacks if found[attack.name] is None]
        training = [attack for attack in pending if isinstance(attack, TrainingAttack)]
        for attack in pending:
            if not isinstance(attack, TrainingAttack):
                found[attack.name] = scene.score(attack, scene.fit(attack))
                bar.advance()
        for attack, fitted in zip(training, scene.fit_together(training), strict=True):
            found[attack.name] = scene.score(attack, fitted)
            bar.advance()
    return {name: scores for name, scores in found.items() if scores is not None}


def _score(scorer: Scorer, knowledge: MembershipSets, name: str, seed: int, which: str) -> Scored:
    records, truth = knowledge.joined()
    order = torch.randperm(len(records), generator=torch_generator(seed, "shuffle", which))
    shuffled = scorer.score(_unnamed(records.take(order))).to(torch.float64)
    if shuffled.shape != (len(records),) or bool(torch.isnan(shuffled).any()):
        raise DataError(
            f"The attack {name} returned scores of shape {tuple(shuffled.shape)} with "
            f"{int(torch.isnan(shuffled).sum())} NaN for {len(records)} candidates; it must give "
            "one number per candidate."
        )
    scores = torch.empty_like(shuffled)
    scores[order] = shuffled
    facts = (truth.numpy(), records.y.numpy(), records.ids.numpy())
    if records.subjects is None:
        return Scored(scores.numpy(), *facts)
    mine = units(records)
    _, first, counts = np.unique(mine, return_index=True, return_counts=True)
    if len(counts) < len(records):
        scores = _means(scores, mine, counts)
    return Scored(scores.numpy(), *(each[first] for each in facts))


def _sharing(scored: Scored, other: Scored) -> Scored:
    """Return `scored` with the arrays of `other` if only scores differ, to save memory."""
    same = all(np.array_equal(getattr(scored, f), getattr(other, f)) for f in _FACTS)
    return replace(other, scores=scored.scores) if same else scored


def _means(
    scores: Float[Tensor, " n"], mine: Int[np.ndarray, " n"], counts: Int[np.ndarray, " m"]
) -> Float[Tensor, " m"]:
    """Return the mean score of each unit; infinite ones count as very large."""
    finite = torch.from_numpy(np.clip(scores.numpy(), -_LARGE, _LARGE))
    sums = torch.zeros(len(counts), dtype=torch.float64).scatter_add_(
        0, torch.from_numpy(mine), finite
    )
    return sums / torch.from_numpy(counts)


def _unnamed(records: Records, first_subject: int = 0) -> Records:
    """Return records with new ids and subject numbers, since old ones may reveal their order."""
    subjects = (
        None if records.subjects is None else first_subject + torch.from_numpy(units(records))
    )
    return replace(records, ids=torch.arange(len(records)), subjects=subjects)


def pack_scores(result: AttackScores) -> dict[str, Tensor]:
    """Return the scores as named tensors, for a file."""
    tensors = {
        "known_records": torch.tensor(result.known_records),
        "queries": torch.tensor(result.queries),
        "seconds": torch.tensor(result.seconds, dtype=torch.float64),
    }
    if result.evaluation_records is not None:
        tensors["evaluation_records"] = torch.tensor(result.evaluation_records)
    for part in ("calibration", "evaluation", "canaries"):
        scored: Scored | None = getattr(result, part)
        if scored is not None:
            for name in _OF_SCORED:
                tensors[f"{part}/{name}"] = torch.from_numpy(getattr(scored, name))
    return tensors


def unpack_scores(tensors: dict[str, Tensor]) -> AttackScores:
    """Return the scores in a file of kept scores.

    Raises:
        StoreError: the file holds something else.
    """

    def part(which: str) -> Scored:
        found = {name: tensors[f"{which}/{name}"].numpy() for name in _OF_SCORED}
        shape = found["scores"].shape
        for name, kind in _OF_SCORED.items():
            array = found[name]
            if array.dtype.name != kind or array.shape != shape or len(shape) != 1:
                raise ValueError(f"{which}/{name} holds {array.dtype} {list(array.shape)}")
        if np.isnan(found["scores"]).any():
            raise ValueError(f"a score of its {which} records is NaN")
        return Scored(**found)

    def count(name: str) -> int:
        value = tensors[name]
        if value.shape or value.dtype != torch.int64 or value < 0:
            raise ValueError(f"its {name} is no count")
        return int(value)

    try:
        return AttackScores(
            part("calibration"),
            part("evaluation"),
            count("known_records"),
            count("queries"),
            float(tensors["seconds"]),
            part("canaries") if "canaries/scores" in tensors else None,
            count("evaluation_records") if "evaluation_records" in tensors else None,
        )
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        raise StoreError(
            f"A file of kept scores is damaged ({error}). Delete the run's folder scores; attack "
            "again."
        ) from error
