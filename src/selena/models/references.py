"""Audits with a matrix of reference models: matches its columns to the audited records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from selena.attacks.pool_index import content_names
from selena.attacks.reference_matrix import ReferenceMatrix
from selena.attacks.reference_model import ReferenceMatrixAttack, ReferenceModelAttack
from selena.errors import ConfigError, DataError
from selena.models.containers import Container
from selena.models.inputs import as_inputs
from selena.registry import ATTACKS, attacks_of
from selena.types import Attack, AuditSplit, Records, concatenate

FAMILY = "reference-model"


def with_references(
    attacks: Sequence[str | Attack], references: ReferenceMatrix | str | Path | None
) -> tuple[str | Attack, ...]:
    """Return the attacks; those by reference models get the matrix, if one is given.

    If none of them is named, their family is added, so that the matrix is used.
    """
    if references is None:
        return tuple(attacks)
    if isinstance(references, str | Path):
        references = ReferenceMatrix.load(Path(references).expanduser())
    if not isinstance(references, ReferenceMatrix):
        raise ConfigError(
            f"references is a {type(references).__name__}; give a selena.ReferenceMatrix, or the "
            "path of a file of one."
        )
    named = [each for each in attacks if isinstance(each, str) and _by_references(each)]
    there = any(isinstance(each, ReferenceMatrixAttack) for each in attacks)
    found: list[str | Attack] = []
    for attack in (*attacks, *([] if named or there else [FAMILY])):
        if isinstance(attack, str) and _by_references(attack):
            settings = [ATTACKS[name].settings for name in attacks_of(attack)]
            found += [ReferenceMatrixAttack(references=references, **each) for each in settings]
        else:
            found.append(attack)
    return tuple(found)


def _by_references(name: str) -> bool:
    return all(ATTACKS[each].kind is ReferenceModelAttack for each in attacks_of(name))


def bind_to_predictions(attacks: Sequence[Attack], split: AuditSplit) -> list[Attack]:
    """Return the attacks, with matrix columns matched to the rows of a table of predictions."""
    if not any(isinstance(each, ReferenceMatrixAttack) for each in attacks):
        return list(attacks)
    parts = [split.known.all_members, split.known.non_members]
    parts += [split.evaluation.all_members, split.evaluation.non_members]
    records = concatenate(*parts)
    names = content_names(records.x, records.y)[np.argsort(records.ids.numpy())]
    return [_named(each, names, "the rows of predictions") for each in attacks]


def bind_to_pool(
    attacks: Sequence[Attack],
    x: Shaped[Tensor, "n *features"],
    classes: Int64[np.ndarray, " n"],
    features: Container,
) -> list[Attack]:
    """Return the attacks, with matrix columns matched to the records of a pool.

    The columns of a matrix without names are the members, then the non-members. With names,
    records are found by their content, in any order.

    Raises:
        DataError: different numbers of records, or records that are not in the matrix.
    """
    if not any(isinstance(each, ReferenceMatrixAttack) for each in attacks):
        return list(attacks)
    names, y = content_names(x, torch.from_numpy(classes)), torch.from_numpy(classes)

    def in_order(attack: Attack) -> Attack:
        if not isinstance(attack, ReferenceMatrixAttack) or attack.references.names is None:
            return attack
        records = Records(as_inputs(features).x, y, torch.arange(len(y)))
        places = attack.references.places(records).numpy()
        return replace(attack, references=attack.references.take(places))

    return [_named(in_order(each), names, "members, then non-members") for each in attacks]


def _named(attack: Attack, names: Shaped[np.ndarray, " n"], order: str) -> Attack:
    if not isinstance(attack, ReferenceMatrixAttack):
        return attack
    if len(attack.references) != len(names):
        raise DataError(
            f"The reference matrix has {len(attack.references):,} records, and {len(names):,} are "
            f"audited. Its columns must be {order}, in that order."
        )
    return replace(attack, references=attack.references.named(names))
