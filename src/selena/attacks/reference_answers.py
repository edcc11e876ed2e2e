"""Answers of a target and of reference models about records, and a statistic over all of them.

Records are scored part by part: additional memory is that of some thousand records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped

from selena.attacks.empirical_bayes import Prior
from selena.attacks.reference_moments import Mask, Matrix, Scores, moments
from selena.attacks.reference_statistics import Statistic
from selena.errors import DataError

_COLUMNS = 1 << 13  # records that are scored at once: small enough for a processor's caches

Pooled = Sequence[Sequence[float]] | Sequence[Prior]
"""What all records say, per query: the mean variance per side, or a prior."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Log-odds of the target and of reference models, and which models trained on which record.

    Attributes:
        target: n x queries.
        references: runs x n x queries.
        sides: two runs x n masks, of the models that trained on a record and of those that did
            not. Offline the first is None. A second of None is the complement of the first.
        end: values are clipped to [-end, end].
    """

    target: Float[np.ndarray, "n q"]
    references: Float[np.ndarray, "r n q"]
    sides: tuple[Bool[np.ndarray, "r n"] | None, Bool[np.ndarray, "r n"] | None]
    end: float

    @classmethod
    def checked(
        cls, target: Any, references: Any, inside: Any, *, least: int, online: bool
    ) -> Answers:
        """Return the answers in given arrays, checked part by part.

        Raises:
            DataError: shapes disagree, a value is NaN, or a record has fewer than `least` models on
                a needed side.
        """
        phi, models, mask = (readable(each) for each in (target, references, inside))
        fits = phi.ndim in (1, 2) and models.shape == (len(models), *phi.shape)
        if not fits or mask.shape != models.shape[:2]:
            raise DataError(
                f"Shapes disagree: target {phi.shape}, references {models.shape}, inside "
                f"{mask.shape}. Give n log-odds, runs x n log-odds and runs x n booleans."
            )
        if phi.ndim == 1:
            phi, models = phi[:, None], models[:, :, None]
        mask = booleans(mask)
        highest = 0.0
        for part in _parts(len(phi)):
            for name, values in (("target", phi[part]), ("references", models[:, part])):
                if np.isnan(values).any():
                    raise DataError(
                        f"{name} holds NaN. Leave out records that a model could not answer."
                    )
            highest = max(highest, highest_finite(models[:, part]))
        _check_counts(mask if online else None, ~mask, least)
        sides = (mask, None) if online else (None, ~mask)
        return cls(phi, models, sides, highest + float(np.log(2)))

    def only(self, used: Bool[np.ndarray, "r n"], *, least: int) -> Answers:
        """Return the answers of the models that are `used` per record.

        Raises:
            DataError: a record then has fewer than `least` models on a needed side.
        """
        inside, outside = self.sides
        if outside is None:
            assert inside is not None
            outside = ~inside
        sides = (None if inside is None else inside & used, outside & used)
        _check_counts(*sides, least)
        return replace(self, sides=sides)

    @property
    def runs(self) -> int:
        """Number of reference models."""
        return len(self.references)

    def parts(self, query: int) -> Iterator[tuple[slice, Scores, Matrix, list[Mask]]]:
        """Yield parts of the records: places, the target's and the models' answers, and sides."""
        inside, outside = self.sides
        for part in _parts(len(self.target)):
            sides = [] if inside is None else [inside[:, part]]
            sides.append(~sides[0] if outside is None else outside[:, part])
            phi, models = (
                np.asarray(each, dtype=np.float64).clip(-self.end, self.end)
                for each in (self.target[part, query], self.references[:, part, query])
            )
            yield part, phi, models, sides


def evaluate(answers: Answers, statistic: Statistic, pooled: Pooled | None = None) -> Scores:
    """Return the mean over the queries of each record's statistic.

    Args:
        answers: answers of the target and of the reference models.
        statistic: the statistic of one query.
        pooled: what these records or others say together; None for a variance per record.
    """
    scores = np.zeros(len(answers.target))
    for query in range(answers.target.shape[1]):
        for part, phi, models, sides in answers.parts(query):
            common = [None] * len(sides) if pooled is None else pooled[query]
            scores[part] += statistic(phi, models, sides, common)
    scores /= answers.target.shape[1]
    return scores


def pooled_variances(answers: Answers) -> list[list[float]]:
    """Return the mean variance over all records, per query and side."""
    found = []
    for query in range(answers.target.shape[1]):
        totals = np.zeros(1 if answers.sides[0] is None else 2)
        for _, _, models, sides in answers.parts(query):
            totals += [float(moments(models, side)[1].sum()) for side in sides]
        found.append((totals / max(len(answers.target), 1)).tolist())
    return found


def priors(answers: Answers) -> list[Prior]:
    """Return what all records say about one of them, per query; both sides are needed."""
    found = []
    for query in range(answers.target.shape[1]):
        seen = np.empty((3, 2, len(answers.target)))
        for part, _, models, sides in answers.parts(query):
            for i, side in enumerate(sides):
                seen[:, i, part] = moments(models, side)
        found.append(Prior.of(*seen))
    return found


def _check_counts(
    inside: Bool[np.ndarray, "r n"] | None, outside: Bool[np.ndarray, "r n"], least: int
) -> None:
    for which, side in (("trained", inside), ("did not train", outside)):
        if side is None:
            continue
        fewest = int(side.sum(axis=0).min(initial=len(side)))
        if fewest < least:
            raise DataError(
                f"Some record has {fewest} reference models that {which} on it; {least} are "
                "needed. Give more reference models, or online=False if none trained on it."
            )


def are_even(inside: Mask) -> bool:
    """Return whether the same number of models trained on each record."""
    counts = inside.sum(axis=0)
    return bool((counts == counts[:1]).all())


def without_one(
    inside: Mask, truth: Bool[np.ndarray, " n"], draws: Float[np.ndarray, "r n"]
) -> Mask:
    """Return which models are used per record: all but one of the side opposite to the target's.

    If half of all models saw each record and one of them is the target, the numbers of the others
    reveal what it trained on: they are one less on its side. This evens them.

    Args:
        inside: runs x n, which models trained on which record.
        truth: whether the target trained on each record.
        draws: a number in [0, 1) per model and record; the largest is left out.
    """
    out = np.where(inside != truth, draws, -1.0).argmax(axis=0)
    used = np.ones_like(inside)
    used[out, np.arange(inside.shape[1])] = False
    return used


def _parts(n: int) -> Iterator[slice]:
    return (slice(start, start + _COLUMNS) for start in range(0, n, _COLUMNS))


def readable(values: Any) -> Shaped[np.ndarray, "..."]:
    """Return values or a tensor on any device as an array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if values.is_floating_point() and values.element_size() < 4:  # NumPy has no bfloat16
            values = values.float()
        values = values.numpy()
    array = np.asarray(values)
    return array if array.dtype.kind in "fb" else array.astype(np.float64)


def booleans(mask: Shaped[np.ndarray, "..."]) -> Mask:
    """Return truth values that may be given as 0 and 1.

    Raises:
        DataError: other values.
    """
    if mask.dtype != np.bool_:
        if not np.isin(mask, (0, 1)).all():
            raise DataError(
                "inside holds other values than 0 and 1. Give booleans, True = trained on."
            )
        mask = mask.astype(bool)
    return mask


def highest_finite(values: Float[np.ndarray, "..."]) -> float:
    """Return the largest finite absolute value, 0 if there is none."""
    sizes = np.abs(values)
    sizes[np.isinf(sizes)] = 0
    return float(sizes.max(initial=0.0))
