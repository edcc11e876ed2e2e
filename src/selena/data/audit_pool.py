"""Audited records of a benchmark: each of its models trains on a random half of them.

The kinds follow Aerni, Zhang & Tramèr, "Evaluations of Machine Learning Privacy Defenses are
Misleading", CCS 2024, Section 4: ordinary records, and canaries with a wrong label. Some canaries
have a companion (a near copy or an exact one), and models train on both or on neither. Companions
are never scored, and no defense is told which records belong together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from selena.data.canaries import draw_near_copies
from selena.data.subjects import units
from selena.errors import ConfigError, DataError
from selena.seeding import torch_generator
from selena.types import Records, concatenate

KINDS = (
    "ordinary",
    "mislabelled",
    "near copy",
    "half-mislabelled near copy",
    "exact duplicate",
)
"""Kinds of audited records. All except "ordinary" have a wrong label. A near copy and an exact
duplicate have the same wrong label as their canary; every second half-mislabelled near copy has
the right label."""


@dataclass(frozen=True, eq=False)
class AuditPool:
    """Audited records and their companions.

    Attributes:
        audited: the records that are scored; each model trains on some of them.
        kind: index of each audited record's kind in `KINDS`.
        companions: a model trains on them if it trains on the audited record they belong to.
        owner: row of `audited` that each companion belongs to.
    """

    audited: Records
    kind: Int[Tensor, " n"]
    companions: Records
    owner: Int[Tensor, " m"]

    def training_set(self, base: Records, inside: Bool[Tensor, " n"]) -> Records:
        """Return `base`, the audited records marked by `inside`, and their companions."""
        audited, companions = self.audited.take(inside), self.companions.take(inside[self.owner])
        return concatenate(base, audited, companions)


def draw_audit_pool(
    population: Records, ordinary: int, canaries: int, *, num_classes: int, seed: int = 0
) -> tuple[AuditPool, Records]:
    """Draw audited records from non-members.

    Args:
        population: non-members.
        ordinary: number of records that keep their label, >= 1.
        canaries: number of records of each other kind, >= 2.
        num_classes: number of classes, >= 2.
        seed: root of the draws: which records, labels and copies.

    Returns:
        The pool, and the rest of the population without the subjects in the pool.

    Raises:
        ConfigError: a count or `num_classes` below its minimum.
        DataError: the population is too small to leave a record.
    """
    if ordinary < 1 or canaries < 2 or num_classes < 2:
        raise ConfigError(
            "An audit pool needs ordinary >= 1, canaries >= 2 and num_classes >= 2; got "
            f"{ordinary}, {canaries}, {num_classes}."
        )
    subject = torch.from_numpy(units(population))
    most, count = int(subject.max()) + 1, ordinary + (len(KINDS) - 1) * canaries
    if count >= most:
        raise DataError(
            f"{count:,} audited records are too many: they are taken from {most:,} test "
            "non-members, and some of these must be left. Audit fewer."
        )
    order = torch.randperm(most, generator=torch_generator(seed, "rows"))
    # A subject gives its first record at most; its other records leave the population.
    first = torch.from_numpy(np.unique(subject.numpy(), return_index=True)[1])
    drawn = replace(population.take(first[order[:count]]), subjects=None)
    left = population.take(torch.isin(subject, order[:count], invert=True))
    shift = torch.randint(1, num_classes, (count,), generator=torch_generator(seed, "labels"))
    shift[:ordinary] = 0
    audited = replace(drawn, y=(drawn.y + shift) % num_classes)
    kind = torch.cat(
        [torch.zeros(ordinary, dtype=torch.int64)]
        + [torch.full((canaries,), each) for each in range(1, len(KINDS))]
    )
    near, half, exact = (torch.nonzero(kind == place).squeeze(1) for place in (2, 3, 4))
    copied = torch.cat([near, half])
    near_copies = draw_near_copies(audited.take(copied), population.x, None, seed)
    labels = near_copies.y.clone()
    labels[len(near) :: 2] = drawn.y[half[::2]]
    exact_copies = replace(audited.take(exact), ids=-1 - audited.ids[exact])
    companions = concatenate(replace(near_copies, y=labels), exact_copies)
    return AuditPool(audited, kind, companions, torch.cat([copied, exact])), left


def draw_coins(n: int, models: int, *, seed: int) -> Bool[Tensor, "models n"]:
    """Return which model trains on which record, by fair coins.

    Models come in complementary pairs, 2 i and 2 i + 1: exactly one of them trains on a record.
    Within one model the coins of different records are independent.

    Raises:
        ConfigError: an odd number of models, or fewer than 6.
    """
    if models < 6 or models % 2:
        raise ConfigError(
            f"models is {models}; give an even number from 6 on: a model is compared with the "
            "models of other pairs, and two of these must have trained on each record."
        )
    coins = torch.stack(
        [
            torch.rand(n, generator=torch_generator(seed, "coins", pair)) < 0.5
            for pair in range(models // 2)
        ]
    )
    return torch.stack([coins, ~coins], dim=1).flatten(0, 1)
