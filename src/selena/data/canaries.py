"""Canaries: planted records on which a defense is most likely to fail.

Averages over ordinary records hide what leaks about the most exposed ones. A mislabelled record can
only be memorized, and a near copy with the same wrong label teaches it even to sub-models of
Split-AI that never see the record itself (Aerni, Zhang & Tramèr 2024). One coin per canary decides
whether it is trained on, as audits with one training need it (Steinke, Nasr & Jagielski 2023).

Canaries are drawn from the test non-members; all other sets stay unchanged. Attacks are not fitted
on canaries and score them separately. Near copies are trained on and never scored.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from selena.data.subjects import units
from selena.errors import ConfigError, DataError
from selena.seeding import torch_generator
from selena.types import AuditSplit, MembershipSets, Records, concatenate

CanaryKind = Literal["mislabelled", "twins", "grouped-twins"]
FEWEST_CANARIES = 20
"""Smallest number of canaries: with fewer, all coins may agree, and figures mean little."""

_NEAR = 0.01  # of a feature's standard deviation


def check_canaries(count: int, kind: str, distance: float | None = None) -> None:
    """Raise `ConfigError` unless `count` canaries of this kind can be planted (0 is allowed)."""
    if kind not in get_args(CanaryKind):
        known = ", ".join(get_args(CanaryKind))
        raise ConfigError(f"canary_kind={kind!r} is unknown; use one of {known}.")
    if kind != "mislabelled" and not count:
        raise ConfigError(f"canary_kind={kind!r} without canaries. Say how many: canaries=300.")
    if distance is not None and kind == "mislabelled":
        raise ConfigError(
            "canary_distance is the distance of near copies, and mislabelled canaries have no "
            "copies. Use canary_kind=twins."
        )
    if distance is not None and not 0 < distance < math.inf:
        raise ConfigError(f"canary_distance is {distance:g}; it must be above 0.")
    if count and count < FEWEST_CANARIES:
        raise ConfigError(f"canaries is {count}; plant at least {FEWEST_CANARIES}, or 0 for none.")


def plant_canaries(
    split: AuditSplit,
    count: int,
    kind: CanaryKind,
    *,
    num_classes: int,
    distance: float | None = None,
    seed: int = 0,
) -> AuditSplit:
    """Turn some test non-members into canaries; the target trains on about half of them.

    Args:
        split: five sets without canaries.
        count: how many, at least 20.
        kind: "mislabelled" gives each canary a wrong label. "twins" also adds, for each canary
            that is trained on, a near copy with the same wrong label, without telling the
            defense. "grouped-twins" tells it, by `Records.subjects`. Copies are not scored.
        num_classes: number of classes, >= 2.
        distance: how much a copy differs: the number of bits of binary records; the Euclidean
            distance in standard deviations of the test non-members' features; for images the
            number of pixels by which they shift, right or left. None: one bit, one shade of one
            pixel, or a hundredth of each feature's standard deviation.
        seed: root of the draws (records, labels, coins and copies), 0 by default.

    Raises:
        ConfigError: too few canaries, an unknown kind, a split that already has canaries, a single
            class, or an impossible distance.
        DataError: too few test non-members; one must be left.
    """
    check_canaries(count, kind, distance)
    if split.canaries is not None:
        raise ConfigError("This split holds canaries already. Plant all of them at once.")
    if num_classes < 2:
        raise ConfigError("Canaries need a wrong label, but there is only one class.")
    test = split.evaluation.non_members
    persons = torch.from_numpy(units(test))
    most = int(persons.max()) + 1
    if count >= most:
        raise DataError(
            f"{count:,} canaries are too many: they are taken from the {most:,} test non-members, "
            "and some of these must be left. Plant fewer."
        )
    order = torch.randperm(most, generator=torch_generator(seed, "rows"))
    # A subject gives its first record at most; its other records are not scored.
    chosen = torch.from_numpy(np.unique(persons, return_index=True)[1])[order[:count]]
    left = torch.isin(persons, order[:count], invert=True)
    shift = torch.randint(1, num_classes, (count,), generator=torch_generator(seed, "labels"))
    drawn = test.take(chosen)
    canaries = replace(drawn, y=(drawn.y + shift) % num_classes)
    inside = torch.rand(count, generator=torch_generator(seed, "coins")) < 0.5
    members, twins = canaries.take(inside), None
    if kind == "grouped-twins":
        members = replace(members, subjects=_new_subjects(split, len(members)))
        twins = draw_near_copies(members, test.x, distance, seed)
    if kind == "twins":
        twins = replace(draw_near_copies(members, test.x, distance, seed), subjects=None)
    return replace(
        split,
        evaluation=replace(split.evaluation, non_members=test.take(left)),
        canaries=MembershipSets(members, canaries.take(~inside), twins),
    )


def _new_subjects(split: AuditSplit, count: int) -> Int[Tensor, " m"]:
    """Return `count` unused subject numbers."""
    sides = (split.known, split.evaluation)
    taken = concatenate(split.validation, *(each.joined()[0] for each in sides)).subjects
    first = 0 if taken is None else int(taken.max()) + 1
    return torch.arange(first, first + count)


def draw_near_copies(
    records: Records, population: Shaped[Tensor, "m *features"], distance: float | None, seed: int
) -> Records:
    """Return a slightly different copy of each record, with an unused record number."""
    x, draws = records.x, torch_generator(seed, "twins")
    if x.is_floating_point():
        noise, scale = torch.randn(x.shape, generator=draws), population.float().std(dim=0)
        if distance is None:
            noise *= _NEAR
        else:
            noise *= distance / noise.flatten(1).norm(dim=1).view(-1, *[1] * (x.ndim - 1))
        near = (x + scale * noise).to(x.dtype)
    elif distance is not None and x.ndim == 4:
        near = _shifted(x, _whole(distance, x.shape[-1] - 1, "pixels"), draws)
    else:
        flat = x.flatten(1).clone()
        if distance is None:
            place = torch.randint(flat.shape[1], (len(flat), 1), generator=draws)
        else:
            count = _whole(distance, flat.shape[1], "bits")
            place = torch.rand(flat.shape, generator=draws).argsort(dim=1)[:, :count]
        # A flipped bit, or one shade of one pixel of an image.
        flat.scatter_(1, place, flat.gather(1, place) ^ 1)
        near = flat.view_as(x)
    return replace(records, x=near, ids=-1 - records.ids)


def _shifted(x: Shaped[Tensor, "n c h w"], by: int, draws: torch.Generator) -> Tensor:
    """Return images shifted right or left at random; edge pixels are repeated."""
    right = torch.rand(len(x), generator=draws) < 0.5
    columns = torch.arange(x.shape[-1])
    moved = [x[..., (columns + step).clamp(0, x.shape[-1] - 1)] for step in (-by, by)]
    return torch.where(right[:, None, None, None], moved[0], moved[1])


def _whole(distance: float, most: int, what: str) -> int:
    """Return a distance that must be a whole number, or raise `ConfigError`."""
    if distance != int(distance) or distance > most:
        raise ConfigError(
            f"canary_distance is {distance:g}; it counts {what} of these records, so give a whole "
            f"number up to {most}."
        )
    return int(distance)
