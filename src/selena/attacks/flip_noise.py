"""Flips random bits of a binary record and counts how often its label survives.

Choquette-Choo et al. 2021, as used by Tang et al. 2022, Section 5.2, on Purchase100 and Texas100.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selena.attacks.neighbors import check_bits, flip_patterns
from selena.attacks.robustness import (
    Correct,
    RobustnessScorer,
    Search,
    check_strengths,
    fit_strength,
)
from selena.training.batches import in_chunks
from selena.training.plans import Plan
from selena.types import (
    Access,
    Dataset,
    Family,
    FeatureKind,
    MembershipSets,
    Needs,
    Oracle,
    Records,
)
from selena.workspace import Progress, Workspace

_ROWS = 8_192


@dataclass(frozen=True)
class FlipNoiseAttack:
    """Scores a binary record by the fraction of noisy copies that are classified correctly.

    The number of flips is chosen on known records, so evaluation records cost `copies` queries
    each. Published figures may have chosen it on evaluation records, which an attack here cannot
    do. To imitate that, run one attack per number of flips (`flips=7`; its name contains the
    number) and compare their results.

    Attributes:
        flips: numbers of flipped bits to choose from (the paper: 1..30 on Purchase100, 1..100
            on Texas100), or one number.
        copies: noisy copies per record; the paper's 100.
        search: "halving" spends few copies on unpromising numbers of flips; "all" uses all copies
            for every number. See `selena.attacks.robustness.fit_strength`.
    """

    family: ClassVar[Family] = "label-only"
    access: ClassVar[Access] = "label"
    needs: ClassVar[Needs] = "features"
    features: ClassVar[tuple[FeatureKind, ...]] = ("binary",)

    flips: int | tuple[int, ...] = tuple(range(1, 31))
    _: KW_ONLY
    copies: int = 100
    search: Search = "halving"

    @classmethod
    def from_plan(cls, plan: Plan, data: Dataset) -> FlipNoiseAttack:
        """Return the attack with the numbers of flips that suit `data`."""
        return cls(flip_range(data))

    def __post_init__(self) -> None:
        check_strengths(self._strengths, self.copies, self.search)

    @property
    def name(self) -> str:
        """The name it has in reports; it contains a fixed number of flips."""
        return f"flip_noise_{self.flips}" if isinstance(self.flips, int) else "flip_noise"

    @property
    def _strengths(self) -> tuple[int, ...]:
        return (self.flips,) if isinstance(self.flips, int) else self.flips

    def fit(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> RobustnessScorer:
        """Choose the number of flips on known records.

        Raises:
            DataError: the features are not bits.
            ConfigError: more flips than bits.
        """
        check_bits(known.members.x)
        progress = (workspace or Workspace()).progress

        def correct(flips: int) -> Correct:
            width = known.members.x.shape[1]
            return correct_flips(oracle, flip_patterns(width, flips, self.copies, seed), progress)

        return fit_strength(correct, known, self._strengths, copies=self.copies, search=self.search)


def flip_range(data: Dataset) -> tuple[int, ...]:
    """Return the paper's range: up to 30 of Purchase100's 600 bits, 100 of Texas100's 6,169."""
    bits = data.records.x[0].numel()
    return tuple(range(1, (100 if bits > 1000 else min(30, bits)) + 1))


def correct_flips(
    oracle: Oracle, patterns: Bool[Tensor, "copies d"], progress: Progress
) -> Correct:
    """Return the function that tells which copies with flipped bits keep their label."""

    def correct(records: Records, which: slice) -> Float[Tensor, "n k"]:
        check_bits(records.x)
        hits = torch.empty(len(records), which.stop - which.start, dtype=torch.float64)
        with progress.step("Near neighbors", hits.numel()) as bar:
            for rows in in_chunks(len(records), _ROWS):
                labels = oracle.flipped_labels(records.x[rows], patterns[which])
                hits[rows] = (labels == records.y[rows, None]).double()
                bar.advance(labels.numel())
        return hits

    return correct
