"""Shifts and mirrors an image, and checks which copies keep their label.

Choquette-Choo et al. 2021, as used by Tang et al. 2022, Section 5.2, on CIFAR-100.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selena.attacks.holdout import check_share, hold_out
from selena.attacks.neighbors import image_shifts
from selena.attacks.robustness import RobustnessScorer, correct_neighbors
from selena.errors import ConfigError
from selena.types import Access, Family, FeatureKind, MembershipSets, Needs, Oracle, Records
from selena.workspace import Workspace

_REACH = 4

AUGMENTATIONS: tuple[tuple[int, int, bool], ...] = tuple(
    (down, right, mirrored)
    for mirrored in (False, True)
    for down in range(-_REACH, _REACH + 1)
    for right in range(-_REACH, _REACH + 1)
)
"""The 162 copies as (down, right, mirrored): 81 crops of a 4-pixel zero padding, times two."""


@dataclass(frozen=True)
class AugmentationAttack:
    """Scores an image by which of its 162 augmented copies are classified correctly.

    Attributes:
        mode: "count" scores by the fraction of correct copies; "classifier" by a logistic
            regression on the 162 bits, correct or not.
        held_out: for "classifier", share of the known records that it is not trained on, in
            (0, 1); thresholds are fitted on them.
        max_batch: images asked about at once; limits memory, changes no result.
    """

    family: ClassVar[Family] = "label-only"
    access: ClassVar[Access] = "label"
    needs: ClassVar[Needs] = "features"
    features: ClassVar[tuple[FeatureKind, ...]] = ("image",)
    queries: ClassVar[int] = len(AUGMENTATIONS)

    mode: Literal["count", "classifier"] = "count"
    _: KW_ONLY
    held_out: float = 0.2
    max_batch: int = 4_096

    def __post_init__(self) -> None:
        check_share(self.held_out)
        if self.mode not in ("count", "classifier") or self.max_batch < 1:
            raise ConfigError(
                'mode must be "count" or "classifier" and max_batch at least 1; got '
                f"mode={self.mode!r}, max_batch={self.max_batch}."
            )

    @property
    def name(self) -> str:
        """The name it has in reports."""
        return "augmentation" if self.mode == "count" else "augmentation_classifier"

    def fit(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> RobustnessScorer | ClassifierScorer:
        """Train the classifier, if there is one.

        Raises:
            DataError: the records are no images; for "classifier", fewer than two known members
                or non-members.
        """
        correct = correct_neighbors(
            oracle,
            image_shifts(AUGMENTATIONS),
            max_batch=self.max_batch,
            progress=(workspace or Workspace()).progress,
        )
        every = RobustnessScorer(correct, self.queries, known)
        if self.mode == "count":
            return every
        train, calibration = hold_out(known, self.held_out, seed)
        records, truth = train.joined()
        # Imported here because the import takes half a second.
        from sklearn.linear_model import LogisticRegression

        classifier = LogisticRegression(max_iter=1_000)
        classifier.fit(every.each(records).numpy(), truth.numpy())
        weights, intercept = classifier.coef_[0], float(classifier.intercept_[0])
        return ClassifierScorer(every, weights, intercept, calibration)


@dataclass(frozen=True)
class ClassifierScorer:
    """A logistic regression on correct and incorrect copies.

    Attributes:
        every: makes the copies and asks about them.
        weights: what each of the 162 bits adds to the log-odds.
        intercept: the log-odds if no copy is classified correctly.
        calibration: the known records that it was not trained on.
    """

    every: RobustnessScorer
    weights: Float[np.ndarray, " copies"]
    intercept: float
    calibration: MembershipSets

    def score(self, candidates: Records) -> Float[Tensor, " n"]:
        """Return the classifier's log-odds of membership, float64."""
        # One sum per record: the rounding in a matrix product may depend on a row's place.
        weighted = self.every.each(candidates).numpy() * self.weights
        return torch.from_numpy(weighted.sum(axis=1) + self.intercept)
