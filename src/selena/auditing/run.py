"""Runs attacks against a target model and makes figures of their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from typing import get_args

import torch

from selena.auditing.oracle import labelling
from selena.auditing.predictions import Predictions
from selena.auditing.report import Accuracy, AttackResult, AuditReport, OnCanaries, Variant
from selena.auditing.scoring import AttackScores, Scene, Scored, balanced, score_attacks
from selena.checks import check_records, check_same_features
from selena.errors import ConfigError, DataError, unknown_name
from selena.fingerprint import describe
from selena.metrics.intervals import clopper_pearson
from selena.metrics.one_run import epsilon_lower_bound
from selena.metrics.summary import summarize
from selena.metrics.thresholds import (
    Threshold,
    cross_fitted_accuracy,
    fit_class_thresholds,
    fit_threshold,
)
from selena.training.batches import in_chunks
from selena.training.memo import MemoizedTarget
from selena.types import (
    Access,
    Attack,
    AuditSplit,
    Family,
    Knowledge,
    Records,
    TargetModel,
    concatenate,
)
from selena.workspace import Workspace

# Numbers that a target model answers at once where its accuracy is counted.
_ANSWERS = 1 << 22

ASKED_TWICE = 32
"""So many known records of a side are asked about twice, to see whether the target is steady."""


def run_audit(
    target: TargetModel,
    split: AuditSplit,
    attacks: Sequence[Attack],
    *,
    seed: int,
    workspace: Workspace | None = None,
    kept_scores: Workspace | None = None,
) -> AuditReport:
    """Attack `target` and report what leaks.

    Attacks are fitted on `split.known` and scored on `split.evaluation`, both with as many
    members as non-members, and on `split.canaries` apart. A target may answer at random: then
    nothing that it said is taken for what it would say again. Each attack's scores are read in two
    ways, by one threshold for all classes and by one a class, both fitted on known records.

    Args:
        target: the model under attack.
        split: who knows what.
        attacks: what to run; names must differ.
        seed: root of the audit's draws.
        workspace: device, progress, and a folder for what attacks train.
        kept_scores: a folder where finished attacks' scores are kept and found again.

    Raises:
        DataError: sets that overlap, are empty, or do not fit the target model.
        ConfigError: two attacks of one name, an unknown family or access, or an attack that is
            no dataclass.
        AccessError: an attack that asks for more than it declared.
    """
    _check(split, target.num_classes)
    check_attacks(attacks)
    scores = score_attacks(
        Scene(
            target,
            MemoizedTarget(target) if _pays(target, split) else MemoizedTarget(target, keep=0),
            balanced(split.known, seed=seed),
            balanced(split.evaluation, seed=seed),
            seed,
            replace(workspace or Workspace(), shared={}),  # what attacks share ends with the audit
            kept_scores or Workspace(),
            None if split.canaries is None else _ungrouped(split.canaries),
        ),
        attacks,
    )
    return AuditReport(
        train_accuracy=accuracy(target, concatenate(split.known.members, split.evaluation.members)),
        test_accuracy=accuracy(target, split.evaluation.non_members),
        attacks={
            attack.name: _result(
                attack, scores[attack.name], target.num_classes, seed, split.canaries
            )
            for attack in attacks
        },
    )


def _pays(target: TargetModel, split: AuditSplit) -> bool:
    """Return whether answers are worth remembering: not those at random, nor those of a table."""
    return not isinstance(target, Predictions) and _is_steady(target, split)


def _is_steady(target: TargetModel, split: AuditSplit) -> bool:
    """Return whether a few members and others are answered alike when asked about again."""
    known, few = split.known, slice(0, ASKED_TWICE)
    x = torch.cat([known.members.x[few], known.non_members.x[few]])
    return torch.equal(target.logits(x), target.logits(x))


def check_attacks(attacks: Sequence[Attack]) -> None:
    """Raise `ConfigError` unless the attacks can be run and reported, anybody's own among them."""
    names = [attack.name for attack in attacks]
    if len(set(names)) != len(names):
        raise ConfigError(f"Attack names must differ; got {', '.join(names)}.")
    for attack in attacks:
        for what, said, known in (
            ("family", attack.family, get_args(Family)),
            ("access", attack.access, get_args(Access)),
        ):
            if said not in known:
                raise unknown_name(f"{what} of the attack {attack.name}", said, known)
        if not is_dataclass(attack):
            raise ConfigError(
                f"The attack {attack.name} is no dataclass. Make {type(attack).__name__} a frozen "
                "one, with its hyperparameters as fields: reports say what they were."
            )


def accuracy(target: TargetModel, records: Records) -> Accuracy:
    """Return how often the target model is right, with its Clopper-Pearson interval."""
    model, correct = labelling(target), 0
    for rows in in_chunks(len(records), max(1, _ANSWERS // target.num_classes)):
        labels = model.logits(records.x[rows]).argmax(dim=1)
        correct += int((labels == records.y[rows]).sum())
    return Accuracy(correct / len(records), clopper_pearson(correct, len(records)), len(records))


def _result(
    attack: Attack, scores: AttackScores, num_classes: int, seed: int, canaries: Knowledge | None
) -> AttackResult:
    known, scored = scores.calibration, scores.evaluation

    def variant(threshold: Threshold) -> Variant:
        decisions = threshold.decide(scored.scores, scored.labels)
        return Variant(
            summary=summarize(scored.scores, decisions, scored.truth),
            known_accuracy=cross_fitted_accuracy(
                known.scores,
                known.truth,
                known.labels,
                num_classes,
                per_class=threshold.per_class,
                seed=seed,
            ),
            known_records=len(known.truth),
        )

    threshold = fit_threshold(known.scores, known.truth)
    return AttackResult(
        name=attack.name,
        family=attack.family,
        access=attack.access,
        settings=describe(attack),
        variants={
            "global": variant(threshold),
            "per_class": variant(
                fit_class_thresholds(known.scores, known.truth, known.labels, num_classes)
            ),
        },
        scores=scores,
        canaries=_on_canaries(scores.canaries, threshold, canaries),
    )


def _ungrouped(canaries: Knowledge) -> Knowledge:
    sides = (canaries.members, canaries.non_members)
    return Knowledge(*(replace(records, groups=None) for records in sides))


def _on_canaries(
    scored: Scored | None, threshold: Threshold, canaries: Knowledge | None
) -> OnCanaries | None:
    if scored is None or canaries is None:
        return None
    decisions, twins = threshold.decide(scored.scores, scored.labels), canaries.more_members
    return OnCanaries(
        summarize(scored.scores, decisions, scored.truth),
        epsilon_lower_bound(scored.scores, scored.truth),
        copies=0 if twins is None else len(twins),
        copies_grouped=twins is not None
        and twins.groups is not None
        and bool((twins.groups >= 0).all()),
    )


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
    _check_groups(sets)
    ids = torch.cat([records.ids for records in (*sets.values(), split.validation)])
    if len(ids.unique()) != len(ids):
        raise DataError(
            "The known, evaluation and validation sets or the canaries share records (equal ids). "
            "Make all disjoint, or no figure means anything."
        )


def _check_groups(sets: dict[str, Records]) -> None:
    """Raise `DataError` where groups are in two of the sets, or in some of the first four alone."""
    audited = [sets[what] for what in list(sets)[:4]]
    if len({records.groups is None for records in audited}) > 1:
        raise DataError(
            "Some of the known and evaluation sets have groups and others have none: means of "
            "several scores would stand beside single ones. Give all of them groups, -1 for "
            "records that stand alone, or none."
        )
    found: dict[int, str] = {}
    for what, records in sets.items():
        groups = [] if records.groups is None else records.groups.unique().tolist()
        for group in filter(lambda number: number >= 0, groups):
            other = found.setdefault(group, what)
            if other != what:
                raise DataError(
                    f"Group {group} has records among the {other} and the {what}. Put all of a "
                    "group into one set: what tells of one of its records tells of the others."
                )
