"""From an attack to scores: the candidates are shuffled, and the truth stays here."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from selena.auditing.oracle import MemoizedTarget, MeteredOracle
from selena.errors import DataError
from selena.fingerprint import TRAINING_CODE, code_digest, fingerprint, tensor_digest
from selena.seeding import child_seed, torch_generator
from selena.types import Attack, Knowledge, Records, Scorer, StoredModel, TargetModel
from selena.workspace import Workspace

# Code that decides what a score is; what is made of scores is computed anew each time.
_SCORING_CODE = ("attacks", "auditing/oracle.py", "auditing/scoring.py", "signals.py", "metrics")


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of some records with the truth about them.

    Attributes:
        scores: float64; higher = member.
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
    """What one attack gave, and what it cost.

    Attributes:
        calibration: on known records, for fitting thresholds and choosing attacks.
        evaluation: on the records that count.
        queries: records asked about, fitting included.
        seconds: wall-clock time, fitting included.
    """

    calibration: Scored
    evaluation: Scored
    queries: int
    seconds: float


def balanced(knowledge: Knowledge, *, seed: int) -> Knowledge:
    """Return as many members as non-members, the larger side drawn without replacement."""
    n = min(len(knowledge.members), len(knowledge.non_members))
    if n == 0:
        raise DataError(
            f"{len(knowledge.members)} members and {len(knowledge.non_members)} non-members: an "
            "attack needs at least one of each."
        )

    def draw(records: Records, side: str) -> Records:
        if len(records) == n:
            return records
        order = torch.randperm(len(records), generator=torch_generator(seed, "balance", side))
        return records.take(order[:n].sort().values)

    return Knowledge(draw(knowledge.members, "members"), draw(knowledge.non_members, "others"))


def score_attack(
    attack: Attack,
    target: TargetModel,
    memo: MemoizedTarget,
    known: Knowledge,
    evaluation: Knowledge,
    *,
    seed: int,
    workspace: Workspace,
    kept: Workspace,
) -> AttackScores:
    """Fit an attack on what is known and score known and evaluation records.

    Scores of a `StoredModel` are kept in the folder of `kept` and found there again by the same
    attack code on the same model, records and seed.
    """
    piece = _piece_name(attack, target, known, evaluation, seed)
    found = kept.load(piece) if piece else None
    if found is not None:
        return unpack_scores(found)
    oracle = MeteredOracle(target, attack.access, memo)
    start = time.perf_counter()
    scorer = attack.fit(
        oracle, known, seed=child_seed(seed, "attack", attack.name), workspace=workspace
    )
    calibration = _score(scorer, scorer.calibration, attack.name, seed, "calibration")
    scored = _score(scorer, evaluation, attack.name, seed, "evaluation")
    result = AttackScores(calibration, scored, oracle.queries, time.perf_counter() - start)
    if piece:
        kept.save(piece, _pack(result))
    return result


def _score(scorer: Scorer, knowledge: Knowledge, name: str, seed: int, which: str) -> Scored:
    records, truth = knowledge.joined()
    order = torch.randperm(len(records), generator=torch_generator(seed, "shuffle", which))
    shuffled = scorer.score(records.take(order)).to(torch.float64)
    if shuffled.shape != (len(records),) or bool(torch.isnan(shuffled).any()):
        raise DataError(
            f"The attack {name} returned scores of shape {tuple(shuffled.shape)} with "
            f"{int(torch.isnan(shuffled).sum())} NaN for {len(records)} candidates; it must give "
            "one number a candidate."
        )
    scores = torch.empty_like(shuffled)
    scores[order] = shuffled
    return Scored(scores.numpy(), truth.numpy(), records.y.numpy(), records.ids.numpy())


def _piece_name(
    attack: Attack, target: TargetModel, known: Knowledge, evaluation: Knowledge, seed: int
) -> str | None:
    if not isinstance(target, StoredModel):
        return None
    state = target.state()
    records = [k.joined()[0] for k in (known, evaluation)]
    key = fingerprint(
        attack,
        {name: tensor_digest(tensor) for name, tensor in sorted(state.items())},
        [tensor_digest(r.x, r.y, r.ids) for r in records],
        [len(known.members), len(evaluation.members), seed],
        code_digest(*_SCORING_CODE, *TRAINING_CODE),
    )
    return f"{attack.name}-{key[:24]}"


def _pack(result: AttackScores) -> dict[str, Tensor]:
    tensors = {
        "queries": torch.tensor(result.queries),
        "seconds": torch.tensor(result.seconds, dtype=torch.float64),
    }
    for part in ("calibration", "evaluation"):
        scored: Scored = getattr(result, part)
        for name in ("scores", "truth", "labels", "ids"):
            tensors[f"{part}/{name}"] = torch.from_numpy(getattr(scored, name))
    return tensors


def unpack_scores(tensors: dict[str, Tensor]) -> AttackScores:
    """Return the scores that a file of kept scores holds."""

    def part(which: str) -> Scored:
        names = ("scores", "truth", "labels", "ids")
        return Scored(**{name: tensors[f"{which}/{name}"].numpy() for name in names})

    return AttackScores(
        part("calibration"),
        part("evaluation"),
        int(tensors["queries"]),
        float(tensors["seconds"]),
    )
