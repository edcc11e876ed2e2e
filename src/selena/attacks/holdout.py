"""Holds out known records from attacks that train, so that thresholds are fitted on unseen ones."""

from __future__ import annotations

import torch

from selena.data.subjects import count_units, cut_units
from selena.errors import ConfigError, DataError
from selena.seeding import torch_generator
from selena.types import MembershipSets


def check_share(held_out: float) -> None:
    """Raise `ConfigError` unless `held_out` lies strictly between 0 and 1."""
    if not 0 < held_out < 1:
        raise ConfigError(f"held_out is {held_out}; it is a share between 0 and 1.")


def hold_out(
    known: MembershipSets, share: float, seed: int, most: int | None = None
) -> tuple[MembershipSets, MembershipSets]:
    """Split known records into a balanced training part and a rest.

    Members and non-members are split separately. Subjects stay whole.

    Args:
        known: at least two members and two non-members.
        share: share of the smaller side to hold out; each part gets at least one record.
        seed: root of the draw.
        most: most members, and most non-members, in the training part.

    Raises:
        DataError: fewer than two known members or non-members.
    """
    sides = {"members": known.members, "non-members": known.non_members}
    counts = {side: count_units(records) for side, records in sides.items()}
    fewest = min(counts.values())
    if fewest < 2:
        raise DataError(
            f"The attack knows {counts['members']} members and {counts['non-members']} "
            "non-members; it needs at least two of each, to train on some and fit thresholds on "
            "others."
        )
    size = min(max(round((1 - share) * fewest), 1), fewest - 1, *([most] if most else []))
    parts = []
    for side, records in sides.items():
        order = torch.randperm(counts[side], generator=torch_generator(seed, "hold-out", side))
        parts.append(cut_units(records, order, size))
    (members, spare_members), (non_members, spare_non_members) = parts
    return MembershipSets(members, non_members), MembershipSets(spare_members, spare_non_members)
