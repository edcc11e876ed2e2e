"""Adds Gaussian noise to a continuous record and counts how often its label survives.

Choquette-Choo et al. 2021; `flip_noise` is the same for bits.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from selena.attacks.neighbors import check_continuous, gaussian_noise
from selena.attacks.robustness import (
    Correct,
    RobustnessScorer,
    Search,
    check_strengths,
    correct_neighbors,
    fit_strength,
)
from selena.errors import ConfigError
from selena.training.batches import as_input
from selena.types import Access, Family, FeatureKind, MembershipSets, Needs, Oracle
from selena.workspace import Workspace


@dataclass(frozen=True)
class GaussianNoiseAttack:
    """Scores a record by the fraction of noisy copies that are classified correctly.

    Attributes:
        sigmas: standard deviations of the noise, to choose from on known records, or one value.
        relative: whether their unit is each feature's standard deviation over the known records;
            else it is the feature's own unit. (Images are in [0, 1], and noisy ones stay there.)
        copies: noisy copies per record.
        search: as in `selena.attacks.flip_noise.FlipNoiseAttack`.
        max_batch: records asked about at once; limits memory, changes no result.
    """

    family: ClassVar[Family] = "label-only"
    access: ClassVar[Access] = "label"
    needs: ClassVar[Needs] = "features"
    features: ClassVar[tuple[FeatureKind, ...]] = ("continuous", "image")

    sigmas: float | tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)
    _: KW_ONLY
    relative: bool = True
    copies: int = 100
    search: Search = "halving"
    max_batch: int = 16_384

    def __post_init__(self) -> None:
        check_strengths(self._strengths, self.copies, self.search)
        if self.max_batch < 1:
            raise ConfigError(f"max_batch must be at least 1; got {self.max_batch}.")

    @property
    def name(self) -> str:
        """The name it has in reports; it contains a fixed sigma."""
        return "gaussian_noise" if isinstance(self.sigmas, tuple) else f"gaussian_{self.sigmas:g}"

    @property
    def _strengths(self) -> tuple[float, ...]:
        return self.sigmas if isinstance(self.sigmas, tuple) else (self.sigmas,)

    def fit(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> RobustnessScorer:
        """Choose sigma on known records.

        Raises:
            DataError: the features are bits.
        """
        unit = feature_scale(known) if self.relative else torch.ones(known.members.x.shape[1:])

        progress = (workspace or Workspace()).progress

        def correct(sigma: float) -> Correct:
            noise = gaussian_noise(sigma * unit, self.copies, seed)
            return correct_neighbors(oracle, noise, max_batch=self.max_batch, progress=progress)

        return fit_strength(correct, known, self._strengths, copies=self.copies, search=self.search)


def feature_scale(known: MembershipSets) -> Float[Tensor, "*features"]:
    """Return each feature's standard deviation over all known records, images in [0, 1].

    Raises:
        DataError: the features are bits.
    """
    x = known.joined()[0].x
    check_continuous(x)
    return as_input(x).std(dim=0, correction=0)
