"""Asks about a record's neighbors, which reveals members of a Split-AI that was not distilled.

Split-AI protects only exact queries of its training records (Tang et al. 2022, Sections 4.1 and
4.2). Sub-models that never saw a member answer its exact query. A random L-set answers a near
neighbor, and a share 1 - L/K of it trained on the member. So the neighbors of a member get more
confident answers than the member itself; the neighbors of a non-member do not.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from selena.attacks.gaussian_noise import feature_scale
from selena.attacks.neighbors import (
    Neighbors,
    bit_flips,
    gaussian_noise,
    image_shifts,
    judge_neighbors,
)
from selena.attacks.robustness import check_strengths, fitted_accuracy
from selena.attacks.signals import SIGNALS
from selena.errors import ConfigError
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

Kind = Literal["flip", "noise", "shift"]
Signal = Literal["confidence", "modified_entropy"]

_KINDS: dict[FeatureKind, Kind] = {"binary": "flip", "continuous": "noise", "image": "shift"}
_SIZES: dict[Kind, tuple[float, ...]] = {"flip": (1, 2, 4), "noise": (0.01, 0.03), "shift": (1,)}
_SHIFTS = 8
_SURE = 100.0
"""Signals are clipped here: log-odds of float32 probabilities end near 100."""


@dataclass(frozen=True)
class IndirectQueryAttack:
    """Scores a record by the mean signal of its neighbors minus its own signal.

    Attributes:
        kind: "flip" bits (binary records), add "noise" (continuous ones, images) or "shift"
            (images).
        sizes: numbers of bits, amounts of noise (in standard deviations of each feature over the
            known records) or numbers of pixels; the best one on known records is used. By default
            small ones.
        copies: neighbors per record, 8 at most for shifts. The number to average (1, 2, 4 and so
            on) is chosen on known records together with the size.
        signal: the signal of an answer; see `selena.attacks.signals`.
        max_batch: records asked about at once; limits memory, changes no result.
    """

    family: ClassVar[Family] = "adaptive"
    access: ClassVar[Access] = "logits"
    needs: ClassVar[Needs] = "features"

    kind: Kind
    _: KW_ONLY
    sizes: tuple[float, ...] = ()
    copies: int = 8
    signal: Signal = "confidence"
    max_batch: int = 16_384

    @classmethod
    def from_plan(cls, plan: Plan, data: Dataset, signal: Signal) -> IndirectQueryAttack:
        """Return the attack with the kind of neighbors that suits `data`."""
        return cls(_KINDS[data.features], signal=signal)

    def __post_init__(self) -> None:
        if self.kind not in _SIZES:
            raise ConfigError(f"kind={self.kind!r} is unknown; use {', '.join(_SIZES)}.")
        if self.signal not in ("confidence", "modified_entropy"):
            raise ConfigError(
                f"signal={self.signal!r} is unknown; use confidence or modified_entropy."
            )
        if self.kind != "noise" and any(size != int(size) for size in self.sizes):
            raise ConfigError(f"Bits and pixels are whole numbers; sizes is {self.sizes}.")
        if self.kind == "shift" and self.copies > _SHIFTS:
            raise ConfigError(f"There are {_SHIFTS} shifts of one size; copies is {self.copies}.")
        if self.max_batch < 1:
            raise ConfigError(f"max_batch must be at least 1; got {self.max_batch}.")
        check_strengths(self.tried, self.copies, "all")

    @property
    def name(self) -> str:
        """The name it has in reports."""
        return f"indirect_{self.kind}_{self.signal}"

    @property
    def tried(self) -> tuple[float, ...]:
        """The sizes to choose from."""
        return self.sizes or _SIZES[self.kind]

    def fit(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> IndirectScorer:
        """Choose the size and the number of neighbors on known records.

        Raises:
            DataError: features that do not suit the kind of neighbors.
            ConfigError: more flips than bits.
        """
        progress = (workspace or Workspace()).progress
        records, membership = known.joined()
        best, best_accuracy = None, -1.0
        for size in self.tried:
            neighbors = self._neighbors(size, known, seed)
            scorer = IndirectScorer(self, oracle, neighbors, self.copies, known, progress)
            around, exact = scorer.each(records), scorer.exact(records)
            for m in _budgets(self.copies):
                scores = (around[:, :m].mean(dim=1) - exact).numpy()
                accuracy = fitted_accuracy(scores, membership.numpy())
                if accuracy > best_accuracy:
                    best, best_accuracy = replace(scorer, copies=m), accuracy
        assert best is not None
        return best

    def _neighbors(self, size: float, known: MembershipSets, seed: int) -> Neighbors:
        if self.kind == "flip":
            return bit_flips(known.members.x.shape[-1], int(size), self.copies, seed)
        if self.kind == "noise":
            return gaussian_noise(size * feature_scale(known), self.copies, seed)
        far = int(size)
        reach = (-far, 0, far)
        return image_shifts([(i, j, False) for i in reach for j in reach if (i, j) != (0, 0)])


@dataclass(frozen=True)
class IndirectScorer:
    """Scores records with neighbors of one size.

    Attributes:
        settings: the attack's settings.
        oracle: answers the queries.
        neighbors: makes the neighbors.
        copies: number of neighbors to average.
        calibration: all known records.
        progress: shows the progress.
    """

    settings: IndirectQueryAttack
    oracle: Oracle
    neighbors: Neighbors
    copies: int
    calibration: MembershipSets
    progress: Progress

    def score(self, candidates: Records) -> Float[Tensor, " n"]:
        """Return mean signal of the neighbors minus signal of the record, float64."""
        return self.each(candidates).mean(dim=1) - self.exact(candidates)

    def exact(self, records: Records) -> Float[Tensor, " n"]:
        """Return the signal of each record."""
        return self._signal(records.x, records.y)

    def each(self, records: Records) -> Float[Tensor, "n m"]:
        """Return the signal of each record's neighbors."""
        return judge_neighbors(
            self._signal,
            records,
            self.neighbors,
            slice(0, self.copies),
            max_batch=self.settings.max_batch,
            progress=self.progress,
        )

    def _signal(self, x: Shaped[Tensor, "n *features"], labels: Tensor) -> Float[Tensor, " n"]:
        signal = SIGNALS[self.settings.signal](self.oracle.logits(x), labels)
        return torch.clamp(signal, -_SURE, _SURE)


def _budgets(copies: int) -> list[int]:
    """Return 1, 2, 4, ... and `copies`."""
    return [*(1 << i for i in range(copies.bit_length()) if 1 << i < copies), copies]
