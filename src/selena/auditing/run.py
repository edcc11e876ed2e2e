"""Runs attacks against a target model and computes figures from their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from typing import get_args

import numpy as np
import torch
from jaxtyping import Bool, Int
from scipy.special import stdtrit

from selena.auditing.oracle import AnsweredModel, labelling, stated_delta
from selena.auditing.report import Accuracy, AuditReport
from selena.auditing.results import attack_result, audit_setup
from selena.auditing.scoring import AuditContext, balanced, score_attacks
from selena.data.checks import check_records, check_same_features
from selena.data.subjects import units
from selena.environment.fingerprint import describe, fingerprint, tensor_digest
from selena.environment.version import __version__
from selena.errors import ConfigError, DataError, unknown_name
from selena.metrics.intervals import normal_quantile
from selena.training.batches import in_answer_chunks
from selena.training.model import MemoizedTarget
from selena.types import (
    Access,
    Attack,
    AuditSplit,
    Family,
    MembershipSets,
    Needs,
    Records,
    StoredModel,
    TargetModel,
    concatenate,
)
from selena.workspace import Workspace

_PARTS = ("name", "family", "access", "needs", "fit")

ASKED_TWICE = 32
"""Known records per side to ask about twice, to check whether the target repeats its answers."""


def run_audit(
    target: TargetModel,
    split: AuditSplit,
    attacks: Sequence[Attack],
    *,
    seed: int = 0,
    workspace: Workspace | None = None,
    kept_scores: Workspace | None = None,
) -> AuditReport:
    """Attack a target model that was trained on an `AuditSplit`, and report what leaks.

    Use `audit` for a finished model, records that it was trained on, and others. Use `run_audit`
    for a target model that was trained on an `AuditSplit`.

    Attacks are fitted on `split.known` and scored on `split.evaluation`, both with as many members
    as non-members, and separately on `split.canaries`. If a target answers at random, its answers
    are not reused. Each attack's scores are evaluated with one threshold for all classes and with
    one per class, both fitted on known records.

    Args:
        target: the model under attack.
        split: known, evaluation and validation records, and canaries.
        attacks: the attacks to run; names must differ.
        seed: root of the audit's draws, 0 by default; the same seed gives the same report.
        workspace: device, progress, and a folder for what attacks train.
        kept_scores: a folder where finished attacks' scores are kept and found again.

    Raises:
        DataError: sets that overlap, are empty, or do not fit the target model.
        ConfigError: two attacks of one name; an attack without a required part, with an unknown
            family, access or needs, or that is no dataclass; an attack that needs more than a
            table of predictions.
        AccessError: an attack that asks for more than it declared.
    """
    _check(split, target.num_classes)
    check_attacks(attacks)
    if getattr(target, "is_table", False):
        check_predictions_suffice([a.name for a in attacks if a.needs != "predictions"])
    scores = score_attacks(
        AuditContext(
            target,
            MemoizedTarget(target) if _is_steady(target, split) else MemoizedTarget(target, keep=0),
            balanced(split.known, seed=seed),
            balanced(split.evaluation, seed=seed),
            seed,
            replace(workspace or Workspace(), shared={}),  # attacks share objects for one audit
            kept_scores or Workspace(),
            None if split.canaries is None else _ungrouped(split.canaries),
        ),
        attacks,
    )
    setup = audit_setup(target.num_classes, seed, split.canaries, stated_delta(target))
    return AuditReport(
        train_accuracy=accuracy(target, concatenate(split.known.members, split.evaluation.members)),
        test_accuracy=accuracy(target, split.evaluation.non_members),
        attacks={
            attack.name: attack_result(
                attack.name,
                attack.family,
                attack.access,
                describe(attack),
                scores[attack.name],
                setup,
            )
            for attack in attacks
        },
        setup=setup,
        inputs=_inputs(target, split),
    )


def _inputs(target: TargetModel, split: AuditSplit) -> dict[str, str]:
    """Return hashes of the audited records and model, which identify them in the report."""
    sides = [split.known.all_members, split.known.non_members]
    sides += [split.evaluation.all_members, split.evaluation.non_members]
    found = {"records": fingerprint([tensor_digest(*side.tensors) for side in sides])}
    if isinstance(target, AnsweredModel):
        found["predictions"] = tensor_digest(target.answers)
    if isinstance(target, StoredModel):
        state = sorted(target.state().items())
        found["model"] = fingerprint({name: tensor_digest(tensor) for name, tensor in state})
    return {**found, "version": __version__}


def _is_steady(target: TargetModel, split: AuditSplit) -> bool:
    """Return whether the target gives a few members and non-members the same answer twice."""
    known, few = split.known, slice(0, ASKED_TWICE)
    x = torch.cat([known.members.x[few], known.non_members.x[few]])
    return torch.equal(target.logits(x), target.logits(x))


def check_attacks(attacks: Sequence[Attack]) -> None:
    """Raise `ConfigError` unless the attacks, including a user's own, can be run and reported."""
    for attack in attacks:
        _check_parts(attack)
    names = [attack.name for attack in attacks]
    if len(set(names)) != len(names):
        raise ConfigError(f"Attack names must differ; got {', '.join(names)}.")
    for attack in attacks:
        for what, said, known in (
            ("family", attack.family, get_args(Family)),
            ("access", attack.access, get_args(Access)),
            ("needs", attack.needs, get_args(Needs)),
        ):
            if said not in known:
                raise unknown_name(f"{what} of the attack {attack.name}", said, known)
        if not is_dataclass(attack):
            raise ConfigError(
                f"The attack {attack.name} is no dataclass. Make {type(attack).__name__} a frozen "
                "one, with its hyperparameters as fields: reports say what they were."
            )


def _check_parts(attack: Attack) -> None:
    """Raise `ConfigError` for a class, and for an attack with missing declarations."""
    if isinstance(attack, type):
        raise ConfigError(f"{attack.__name__} is a class; pass {attack.__name__}(...).")
    lacking = [part for part in _PARTS if not hasattr(attack, part)]
    if lacking == ["needs"]:
        raise ConfigError(
            f"The attack {attack.name} does not say what it needs. Give its class the line `needs: "
            'ClassVar[Needs] = "predictions"`, or "features" where it changes records or trains on '
            'them, or "training" where it repeats the training of the target.'
        )
    if lacking:
        raise ConfigError(
            f"{type(attack).__name__} is no attack: it lacks {', '.join(lacking)}. Add them; "
            "CONTRIBUTING.md shows a whole attack."
        )


def check_predictions_suffice(names: Sequence[str]) -> None:
    """Raise `ConfigError` if `names`, of attacks that need more than predictions, is not empty."""
    if names:
        raise ConfigError(
            f"The attacks {', '.join(names)} need more than predictions: they ask about changed "
            'records, or train models. Pass the model, or attacks with needs = "predictions", such '
            "as the family direct."
        )


def accuracy(target: TargetModel, records: Records) -> Accuracy:
    """Return the accuracy of the target model.

    Records of one subject are often right or wrong together. So with several records per subject,
    the spread between subjects limits the number of trials of the interval.
    """
    model, right = labelling(target), np.empty(len(records), dtype=bool)
    for rows in in_answer_chunks(len(records), target.num_classes):
        labels = model.logits(records.x[rows]).argmax(dim=1)
        right[rows] = (labels == records.y[rows]).numpy()
    return Accuracy.of(int(right.sum()), len(right), _trials(right, units(records)))


def _trials(right: Bool[np.ndarray, " n"], subjects: Int[np.ndarray, " n"]) -> float:
    """Return the number of independent records that `right` is worth, with several per subject.

    It follows from the spread between subjects, with Student's quantile for few of them (Korn &
    Graubard 1998). With few errors the spread is imprecise, so the number is at most twice that
    of subjects whose rows are all equal.
    """
    n, share, sizes = len(right), float(right.mean()), np.bincount(subjects)
    count = len(sizes)
    if count == n:
        return n
    alike = float(n**2 / (sizes.astype(float) ** 2).sum())
    residuals = np.bincount(subjects, weights=right) - share * sizes
    variance = float(count / max(count - 1, 1) * (residuals**2).sum() / n**2)
    if variance <= 0:
        return alike
    few = (normal_quantile(0.95) / float(stdtrit(max(count - 1, 1), 0.975))) ** 2
    return min(share * (1 - share) / variance * few, 2 * alike, n)


def _ungrouped(canaries: MembershipSets) -> MembershipSets:
    sides = (canaries.members, canaries.non_members)
    return MembershipSets(*(replace(records, subjects=None) for records in sides))


def _check(split: AuditSplit, num_classes: int) -> None:
    sets = {
        "known members": split.known.members,
        "known non-members": split.known.non_members,
        "evaluation members": split.evaluation.members,
        "evaluation non-members": split.evaluation.non_members,
    }
    if split.canaries is not None:
        sets["canaries trained on"] = split.canaries.all_members
        sets["canaries left out"] = split.canaries.non_members
    first = split.known.members
    for what, records in sets.items():
        check_records(records, num_classes=num_classes, what=what)
        check_same_features(first, records, what=what)
    _check_subjects(sets)
    ids = torch.cat([records.ids for records in (*sets.values(), split.validation)])
    if len(ids.unique()) != len(ids):
        raise DataError(
            "The known, evaluation and validation sets or the canaries share records (equal ids). "
            "Make all of them disjoint; otherwise figures are meaningless."
        )


def _check_subjects(sets: dict[str, Records]) -> None:
    """Raise `DataError` if a subject is in two sets, or only some audited sets have subjects."""
    audited = [sets[what] for what in list(sets)[:4]]
    if len({records.subjects is None for records in audited}) > 1:
        raise DataError(
            "Some of the known and evaluation sets have subjects and others have none, so means of "
            "several scores would be compared with single scores. Give subjects for all sets (-1 "
            "for records without one) or for none."
        )
    found: dict[int, str] = {}
    for what, records in sets.items():
        subjects = [] if records.subjects is None else records.subjects.unique().tolist()
        for subject in filter(lambda number: number >= 0, subjects):
            other = found.setdefault(subject, what)
            if other != what:
                raise DataError(
                    f"Subject {subject} has records among the {other} and the {what}. Put all "
                    "records of a subject into one set, because each of them reveals the others."
                )
