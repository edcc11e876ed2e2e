"""Records of every kind, and targets whose leak is known, for the tests of attacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from selena.attacks.neighbors import image_shifts
from selena.seeding import torch_generator
from selena.training.batches import as_input
from selena.types import AuditSplit, MembershipSets, Records

Kind = Literal["bits", "numbers", "images"]

LABELS = 3
CLASSES = LABELS + 1  # no record has the last class: it is what a target answers to strangers
NOBODY = CLASSES - 1
RADIUS = {"bits": 2.5, "numbers": 0.2, "images": 0.6}  # records of a kind lie farther apart


def records(kind: Kind, start: int, n: int) -> Records:
    """Return learnable records of any kind; equal counts of every label."""
    y = torch.arange(n) % LABELS
    generator = torch_generator(start, "planted", kind)
    shape = {"bits": (80,), "numbers": (20,), "images": (3, 6, 6)}[kind]
    means = torch.rand(LABELS, *shape, generator=torch_generator(7, "means", kind))
    x = 0.5 * means[y] + 0.5 * torch.rand(n, *shape, generator=generator)
    if kind == "bits":
        x = (x > 0.5).to(torch.uint8)
    elif kind == "images":
        x = (255 * x).to(torch.uint8)
    return Records(x, y, torch.arange(start, start + n))


def audit_split(kind: Kind, n: int = 30) -> AuditSplit:
    """Return n records per side, and a few for validation."""
    parts = [records(kind, 1000 * i, n) for i in range(5)]
    return AuditSplit(
        MembershipSets(parts[0], parts[1]), MembershipSets(parts[2], parts[3]), parts[4]
    )


@dataclass(frozen=True)
class Leak:
    """Knows the label of a member and of what is near one, and of nothing else.

    Attributes:
        members: whose membership leaks.
        radius: how near a neighbor is, in L2.
        of_neighbors_only: an exact member is answered as a stranger, as a Split-AI would.
    """

    members: Records
    radius: float
    of_neighbors_only: bool = False
    num_classes: int = CLASSES

    def logits(self, x: Tensor) -> Tensor:
        return self.differentiable_logits(as_input(x))

    def differentiable_logits(self, x: Tensor) -> Tensor:
        x, members = x.cpu(), as_input(self.members.x).flatten(1)
        with torch.no_grad():
            nearest = torch.cdist(x.flatten(1), members).argmin(dim=1)
        gap = (x.flatten(1) - members[nearest]).square().sum(dim=1)
        near = 30 * (1 - gap / self.radius**2)
        if self.of_neighbors_only:
            near = torch.where(gap == 0, -30.0, near)
        logits = torch.zeros(len(x), CLASSES)
        logits[:, NOBODY] = 0.1
        return logits.scatter(1, self.members.y[nearest][:, None], near[:, None])


def leak_of(split: AuditSplit, kind: Kind, *, of_neighbors_only: bool = False) -> Leak:
    return Leak(split.train, RADIUS[kind], of_neighbors_only)


def leak_of_shifts(split: AuditSplit) -> Leak:
    """Return a target that knows members' images moved by a pixel, and not the images."""
    members, moves = split.train, (-1, 0, 1)
    around = [(i, j, False) for i in moves for j in moves if (i, j) != (0, 0)]
    moved = image_shifts(around)(members.x, slice(0, len(around)))
    y, ids = (each.repeat_interleave(len(around)) for each in (members.y, members.ids))
    return Leak(Records(moved.flatten(0, 1), y, ids), RADIUS["images"])


@dataclass(frozen=True)
class Constant:
    """Answers everything alike."""

    num_classes: int = CLASSES

    def logits(self, x: Tensor) -> Tensor:
        return torch.tensor([1.0, 0.5, 0.0, -1.0]).repeat(len(x), 1)

    def differentiable_logits(self, x: Tensor) -> Tensor:
        return self.logits(x) + 0 * x.flatten(1).sum(dim=1, keepdim=True)
