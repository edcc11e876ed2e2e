"""Flips random bits of a binary record and counts how often its label survives.

Choquette-Choo et al. 2021, as used by Tang et al. 2022, Section 5.2, on Purchase100 and Texas100.
"""

from __future__ import annotations

from dataclasses import dataclass

from selena.attacks.neighbors import Neighbors, bit_flips
from selena.attacks.robustness import RobustnessScorer, Search, check_strengths, fit_strength
from selena.types import Access, Family, Knowledge, Oracle
from selena.workspace import Workspace


@dataclass(frozen=True)
class FlipNoise:
    """Scores a binary record by the fraction of noisy copies that are classified correctly.

    The number of flips is chosen on known records, so evaluation records cost `copies` queries
    each. For the choice on evaluation records that published figures may have made, run one
    attack a number of flips (`flips=7`; its name carries the number) and compare their results:
    an attack itself never sees the truth.

    Attributes:
        flips: numbers of flipped bits to choose from (the paper: 1..30 on Purchase100, 1..100
            on Texas100), or one number.
        copies: noisy copies a record; the paper's 100.
        search: "halving" spends few copies on unpromising numbers of flips; "all" spends every
            copy on every number. See `selena.attacks.robustness.fit_strength`.
        max_batch: records asked about at once; bounds memory, changes no result.
    """

    flips: int | tuple[int, ...] = tuple(range(1, 31))
    copies: int = 100
    search: Search = "halving"
    max_batch: int = 16_384

    def __post_init__(self) -> None:
        check_strengths(self._strengths, self.copies, self.search, self.max_batch)

    @property
    def name(self) -> str:
        """The name it has in reports; that of a fixed number of flips carries the number."""
        return f"flip_noise_{self.flips}" if isinstance(self.flips, int) else "flip_noise"

    @property
    def family(self) -> Family:
        """A label-only attack."""
        return "label-only"

    @property
    def access(self) -> Access:
        """Predicted labels."""
        return "label"

    @property
    def _strengths(self) -> tuple[int, ...]:
        return (self.flips,) if isinstance(self.flips, int) else self.flips

    def fit(
        self, oracle: Oracle, known: Knowledge, *, seed: int, workspace: Workspace | None = None
    ) -> RobustnessScorer:
        """Choose the number of flips on known records.

        Raises:
            DataError: the features are not bits.
            ConfigError: more flips than bits.
        """
        width = known.members.x.shape[-1]

        def noise(flips: int) -> Neighbors:
            return bit_flips(width, flips, self.copies, seed)

        return fit_strength(
            oracle,
            known,
            noise,
            self._strengths,
            copies=self.copies,
            search=self.search,
            max_batch=self.max_batch,
            workspace=workspace,
        )
