"""The reference matrix: reference models' answers, and which records each model trained on.

Reference-model attacks need nothing else. The matrix can be trained (`train_reference_matrix`),
given as arrays, kept in a file, extended by more reference models, and used for many targets. Each
of its models can be the target of the others (Carlini et al. 2022, Section V).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from selena.attacks.pool_index import PoolIndex
from selena.attacks.reference_answers import Answers, booleans, highest_finite, readable
from selena.attacks.reference_copies import Copies
from selena.attacks.reference_files import load_matrix, save_matrix
from selena.attacks.reference_moments import Mask
from selena.errors import DataError
from selena.types import Records

SURE = 100.0
"""Confidences are clipped here: log-odds of float32 probabilities end near 100."""

_HALF_A_STEP = float(np.log(2))


@dataclass(frozen=True, eq=False)
class ReferenceMatrix:
    """Confidences of reference models, runs x records, and which records each run trained on.

    Attributes:
        confidences: log-odds log(p / (1 - p)) of the label's probability: runs x n, or runs x n x
            queries with changed copies. Lists and tensors are accepted; float32 and float64 are
            kept, and infinite values are clipped when they are used.
        inside: runs x n, True where the run trained on the record.
        names: n digests of the records' content (fixed-length bytes) by which they are found, or
            None if the order of the columns identifies records. Anyone with the file can test
            whether a guessed record is in the pool.
        copies: how the changed copies were made, if there are any.

    Raises:
        DataError: shapes disagree, a value is NaN, or `inside` holds other values than 0 and 1.
    """

    confidences: Float[np.ndarray, "r n"] | Float[np.ndarray, "r n q"]
    inside: Bool[np.ndarray, "r n"]
    names: Shaped[np.ndarray, " n"] | None = None
    copies: Copies | None = None

    def __post_init__(self) -> None:
        confidences, inside = _checked(self.confidences, self.inside)
        if self.names is not None:
            names = np.asarray(self.names)
            if names.dtype.kind != "S" or names.shape != inside.shape[1:]:
                raise DataError(
                    f"names must be {inside.shape[1]} digests, NumPy's bytes; they have shape "
                    f"{names.shape} and type {names.dtype}. Leave them out to use the order."
                )
            object.__setattr__(self, "names", names)
        object.__setattr__(self, "confidences", confidences)
        object.__setattr__(self, "inside", inside)
        if self.copies is not None and self.copies.count + 1 != self.queries:
            raise DataError(
                f"confidences hold {self.queries} queries per record; with {self.copies.count} "
                f"copies there are {self.copies.count + 1}."
            )

    def __repr__(self) -> str:
        queries = f", {self.queries} queries each" if self.queries > 1 else ""
        share = 100 * self.inside.mean() if self.inside.size else 0.0
        return (
            f"ReferenceMatrix({self.runs} runs, {len(self):,} records{queries}; {share:.0f} % of "
            "the pairs were trained on)"
        )

    def __len__(self) -> int:
        return int(self.inside.shape[1])

    @property
    def runs(self) -> int:
        """Number of reference models."""
        return len(self.inside)

    @property
    def queries(self) -> int:
        """Answers per record and model."""
        return int(self.confidences.shape[2]) if self.confidences.ndim == 3 else 1

    @cached_property
    def end(self) -> float:
        """Log-odds are clipped here: half a step above the largest finite one, 100 at most.

        A forest of 100 trees answers 0.99 or 1. With log-odds of 100 for 1, it would dominate.
        """
        highest = max((highest_finite(row) for row in self.confidences), default=0.0)
        return min(SURE, highest + _HALF_A_STEP)

    def take(self, columns: Any = None, *, runs: Any = None) -> ReferenceMatrix:
        """Return some records and runs, by number, mask or slice; by default all.

        `end` is computed anew, from the selected values.
        """
        rows, places = (slice(None) if each is None else each for each in (runs, columns))
        names = None if self.names is None else self.names[places]
        return replace(
            self,
            confidences=self.confidences[rows][:, places],
            inside=self.inside[rows][:, places],
            names=names,
        )

    def named(self, names: Shaped[np.ndarray, " n"]) -> ReferenceMatrix:
        """Return the matrix with names for its records, in the order of its columns."""
        return replace(self, names=names)

    def join(self, more: ReferenceMatrix) -> ReferenceMatrix:
        """Return these runs and then those of another matrix of the same records.

        Raises:
            DataError: different records or queries.
        """
        both_named = self.names is not None and more.names is not None
        if both_named and not np.array_equal(self.names, more.names):  # type: ignore[arg-type]
            raise DataError("The two matrices have different records. Join runs over one pool.")
        if self.confidences.shape[1:] != more.confidences.shape[1:]:
            raise DataError(
                f"Records or queries differ: {self.confidences.shape[1:]} and "
                f"{more.confidences.shape[1:]}. Ask all runs the same about one pool."
            )
        return replace(
            self,
            confidences=np.concatenate([self.confidences, more.confidences]),
            inside=np.concatenate([self.inside, more.inside]),
            names=more.names if self.names is None else self.names,
        )

    def places(self, records: Records) -> Int[Tensor, " m"]:
        """Return the column of each record.

        Raises:
            DataError: a record that is not in the matrix, or a matrix without names.
        """
        if self.names is None:
            raise DataError(
                "This reference matrix has no names: only selena.audit can tell by order which "
                "column is which record. Give names, or train it by train_reference_matrix."
            )
        return self._index.places(records)

    def answers(
        self,
        target: Float[np.ndarray, "m q"],
        columns: Shaped[np.ndarray, " m"],
        *,
        online: bool,
        least: int,
    ) -> Answers:
        """Return the answers of the target and of the reference models about some records.

        Raises:
            DataError: the target got other queries, a value is NaN, or a record has fewer than
                `least` models on a needed side.
        """
        confidences = self.confidences[:, columns].reshape(self.runs, len(columns), self.queries)
        if target.shape != confidences.shape[1:]:
            raise DataError(
                f"The reference matrix holds {self.queries} answers per record, and the target "
                f"gives {target.shape[1]}. Give the matrix its copies, or take one query."
            )
        found = Answers.checked(
            target, confidences, self.inside[:, columns], least=least, online=online
        )
        return replace(found, end=self.end)

    def all_answers(self, *, online: bool, least: int) -> Answers:
        """Return the reference models' answers about all records, beside a target of zeros."""
        nobody = np.zeros((len(self), self.queries), dtype=self.confidences.dtype)
        return self.answers(nobody, np.arange(len(self)), online=online, least=least)

    def save(self, path: str | Path) -> None:
        """Write an `.npz` file or, with one query per record, a `.parquet` file.

        Raises:
            DataError: another suffix, or several queries for a table.
        """
        save_matrix(Path(path), self.confidences, self.inside, self.names, self.copies)

    @classmethod
    def load(cls, path: str | Path) -> ReferenceMatrix:
        """Read a file of `save`, or another file in its format; nothing is unpickled.

        An `.npz` file holds `confidences` (runs x n, or runs x n x queries) and `inside` (runs x
        n), and maybe `names` (n digests). A `.parquet` or `.csv` file has one row per record, the
        columns `confidence0`, `confidence1` ... and `inside0`, `inside1` ..., one per run, and
        maybe `name` (digests in hexadecimal).

        Raises:
            DataError: the file is absent, damaged or too large, or a column is missing or invalid.
        """
        path = Path(path)
        confidences, inside, names, copies = load_matrix(path)
        try:
            return cls(*_checked(confidences, inside), names, copies)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error

    @cached_property
    def _index(self) -> PoolIndex:
        assert self.names is not None
        return PoolIndex(self.names)


def _checked(confidences: Any, inside: Any) -> tuple[Float[np.ndarray, "..."], Mask]:
    """Return the two arrays, checked and converted.

    Raises:
        DataError: see `ReferenceMatrix`.
    """
    confidences, inside = readable(confidences), readable(inside)
    if confidences.ndim not in (2, 3) or inside.shape != confidences.shape[:2]:
        raise DataError(
            f"Shapes disagree: confidences {confidences.shape}, inside {inside.shape}. Give "
            "runs x records (x queries) and runs x records."
        )
    if confidences.dtype not in (np.float32, np.float64):
        confidences = confidences.astype(np.float64)
    for run, row in enumerate(confidences):
        if np.isnan(row).any():
            raise DataError(
                f"confidences: run {run} holds NaN, first of record "
                f"{int(np.argwhere(np.isnan(row))[0, 0])}. Leave out records without an answer."
            )
    return confidences, booleans(inside)
