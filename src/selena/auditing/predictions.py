"""A table of predictions as a target model.

The table has one row per record. A "record" is its row number, and asking the target model about it
means looking the row up. So every attack that asks only about unchanged records runs as usual.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int, Int64, Shaped
from torch import Tensor

from selena.data.cells import as_number, listed, shown
from selena.data.checks import are_probabilities
from selena.data.npz import read_npz
from selena.data.open_table import open_table
from selena.data.subjects import number_subjects
from selena.data.table_file import place_of
from selena.errors import DataError
from selena.files.reading import border, check_is_file
from selena.seeding import numpy_generator
from selena.training.batches import in_chunks
from selena.training.memory import release_freed_memory
from selena.types import AuditSplit, MembershipSets, Records

_LOG = logging.getLogger(__name__)
# Number of probabilities to check at once.
_CHUNK = 1 << 20
_EXACT = 2**53  # float64 holds every integer up to here


@dataclass(frozen=True, eq=False)
class Predictions:
    """A model's answers, and the truth about its training set.

    Anything that NumPy converts to an array is accepted: lists, tensors, columns of a frame.

    Attributes:
        probabilities: n x C; rows sum to 1, and float32 is kept. For two classes n probabilities
            of class 1 suffice.
        labels: true classes in [0, C), which are column numbers of `probabilities`.
        member: True for records in the model's training set.
        known: True for records whose membership the attacker knows and may fit on.
        subjects: subject id of each record, integers or strings (-1: none), or None; they are
            numbered anew. The records of one subject must be all members or all not, and all
            known or all not.
    """

    probabilities: Float[np.ndarray, "n c"] | Float[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]
    member: Bool[np.ndarray, " n"]
    known: Bool[np.ndarray, " n"]
    subjects: Shaped[np.ndarray, " n"] | None = None
    is_table: ClassVar[bool] = True

    def __post_init__(self) -> None:
        names = [name for name in _READERS if name != "subjects" or self.subjects is not None]
        for name in names:
            array = _READERS[name](np.asarray(getattr(self, name)), name)
            object.__setattr__(self, name, array)
        n = len(self.probabilities)
        for name in names:
            shape = getattr(self, name).shape[:1]
            if shape != (n,):
                raise DataError(
                    f"Shapes disagree: probabilities hold {n} rows, {name} has shape {shape}."
                )
        _check_probabilities(self.probabilities)
        wrong = np.flatnonzero((self.labels < 0) | (self.labels >= self.num_classes))
        if len(wrong):
            raise DataError(
                f"labels: row {wrong[0]} holds {self.labels[wrong[0]]}; with {self.num_classes} "
                f"columns of probabilities labels run from 0 to {self.num_classes - 1}."
            )
        for known in (True, False):
            for member in (True, False):
                if not ((self.known == known) & (self.member == member)).any():
                    raise DataError(
                        f"No row has known={known} and member={member}. Thresholds are fitted on "
                        "known rows and scored on the others: both need members and non-members."
                    )

    def __repr__(self) -> str:
        n, members, known = len(self.member), int(self.member.sum()), int(self.known.sum())
        return (
            f"Predictions({n:,} records, {self.num_classes:,} classes; {members:,} are members, "
            f"{known:,} are known)"
        )

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return int(self.probabilities.shape[1])

    @property
    def answers(self) -> Float[Tensor, "n c"]:
        """The probabilities, by row."""
        return torch.from_numpy(self.probabilities)

    def split(self) -> AuditSplit:
        """Return rows as records: known, evaluation; no validation set.

        Their ids are the row numbers. Their x are random numbers by which `logits` finds an
        answer, so x does not reveal members even if a file lists them first.
        """
        places = np.argsort(self._order)

        def rows(chosen: Bool[np.ndarray, " n"]) -> Records:
            ids = np.flatnonzero(chosen)
            x, y = torch.from_numpy(places[ids, None]), torch.from_numpy(self.labels[chosen])
            subjects = None if self.subjects is None else torch.from_numpy(self.subjects[chosen])
            return Records(x, y, torch.from_numpy(ids), subjects)

        def knowledge(chosen: Bool[np.ndarray, " n"]) -> MembershipSets:
            return MembershipSets(rows(chosen & self.member), rows(chosen & ~self.member))

        return AuditSplit(
            knowledge(self.known), knowledge(~self.known), rows(np.zeros_like(self.known))
        )

    def logits(self, x: Shaped[Tensor, "n 1"]) -> Float64[Tensor, "n c"]:
        """Return the logarithms of the rows that `x` stands for (float64, -inf for 0)."""
        if len(x) * self.num_classes >= _CHUNK:
            release_freed_memory()  # memory of the chunk before
        rows = torch.from_numpy(self._order)[x[:, 0]]
        return torch.from_numpy(self.probabilities)[rows].double().log_()

    @cached_property
    def _order(self) -> Int[np.ndarray, " n"]:
        order = numpy_generator(0, "order of predictions").permutation(len(self.labels))
        return order.astype(np.int32 if len(order) < 2**31 else np.int64)  # half of the memory


def read_predictions(path: str | Path) -> Predictions:
    """Read predictions from an `.npz`, `.csv` or `.parquet` file.

    `.npz` holds `probabilities` (n x C), `labels`, `member` and `known` (n each), and optionally
    `subjects`. A table has the columns `p0`..`p{C-1}`, `label`, `member`, `known`, and optionally
    `subject`. Other arrays and columns are ignored.

    Raises:
        DataError: the file is absent, damaged or of another kind, or a column is missing or
            invalid.
    """
    path = Path(path).expanduser()
    check_is_file(path)
    with border(path, "the file is damaged"):
        if path.suffix.lower() == ".npz":
            wanted = [name for name in _READERS if name != "subjects"]
            arrays = read_npz(path, wanted, maybe=["subjects", "groups"])
            (name,) = _subject_name(path, list(arrays), "subjects", "groups") or ("subjects",)
            subjects = {"subjects": arrays[name]} if name in arrays else {}
            arrays = {name: arrays[name] for name in wanted} | subjects
        else:
            arrays = _read_table(path)
        try:
            return Predictions(
                **{name: _READERS[name](each, name) for name, each in arrays.items()}
            )
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        finally:
            release_freed_memory()


def _subject_name(path: Path, names: Sequence[str], name: str, before: str) -> list[str]:
    """Return the name of the subjects in the file, if any; version 2.0 drops the name `before`."""
    if name not in names and before in names:
        _LOG.warning("%s: call %r %r. Version 2.0 will not read the old name.", path, before, name)
        return [before]
    return [name] if name in names else []


def _read_table(path: Path) -> dict[str, np.ndarray]:
    import pyarrow as pa

    table = open_table(path)
    names = table.names
    width = len({name for name in names if re.fullmatch(r"p[0-9]{1,7}", name)})
    wanted = [*(f"p{i}" for i in range(max(width, 2))), "label", "member", "known"]
    missing = [name for name in wanted if name not in names]
    if missing:
        fix = "A table of predictions needs p0.. (one per class), label, member and known."
        if width == 1 and set(missing) <= {"p0", "p1"}:
            fix = "For two classes give both p0 and p1, which is 1 - p0."
        raise DataError(f"{path} lacks the columns {listed(missing)}. {fix}")
    wanted += _subject_name(path, names, "subject", "group")
    places = [place_of(names, name, path, "Name each once.") for name in wanted]
    cells = table.read(places[:width], places[width:], np.float64)
    pa.default_memory_pool().release_unused()  # Arrow would keep the memory used for decoding
    label, member, known, *subjects = (
        _spelled(words, name, path, table.row)
        for name, words in zip(wanted[width:], cells.words, strict=True)
    )
    arrays = {"probabilities": cells.numbers, "labels": label, "member": member, "known": known}
    return arrays | ({"subjects": subjects[0]} if subjects else {})


def _spelled(words: np.ndarray, name: str, path: Path, row: Callable[[int], int]) -> np.ndarray:
    """Return numbers and truth values written as text; words stay words.

    Raises:
        DataError: words among numbers.
    """
    if words.dtype.kind != "U":
        return words
    texts, first, inverse = np.unique(words, return_index=True, return_inverse=True)
    numbers = np.zeros(len(texts))
    strange = []
    for place, text in enumerate(texts.tolist()):
        try:
            numbers[place] = as_number(text)
        except ValueError:
            strange.append(place)
    if len(strange) == len(texts):
        return words
    if strange:
        place = min(strange, key=lambda place: first[place])
        raise DataError(
            f"{path}, row {row(int(first[place]))}, column {name!r}: {shown(texts[place])} is no "
            "number."
        )
    whole = bool((numbers == np.rint(numbers)).all() and (np.abs(numbers) < _EXACT).all())
    return np.asarray((numbers.astype(np.int64) if whole else numbers)[inverse])


def _numbers(values: np.ndarray, what: str, ndim: int = 2) -> Float64[np.ndarray, "..."]:
    if values.ndim != ndim or values.dtype.kind not in "buif":
        raise DataError(
            f"{what} must be numbers in {ndim} dimension(s); they have shape {values.shape} and "
            f"type {values.dtype}."
        )
    return values.astype(np.float64, copy=False)


def _probabilities(values: np.ndarray, what: str) -> Float[np.ndarray, "..."]:
    """Return probabilities as float32 if they came so (to save memory), else as float64."""
    if values.ndim == 1 and values.dtype.kind == "f":
        values = np.column_stack([1 - values, values])
    if values.ndim == 2 and values.dtype.kind == "f" and values.dtype.itemsize <= 4:
        return values.astype(np.float32, copy=False)
    return _numbers(values, what)


def _integers(values: np.ndarray, what: str) -> Int64[np.ndarray, " n"]:
    if values.dtype.kind in "OUST":
        raise DataError(
            f"{what} must be numbers, and the first is '{values.flat[0]}'. Give the number of each "
            "label's column of probabilities; for a classifier of scikit-learn that is "
            "numpy.searchsorted(model.classes_, y)."
        )
    numbers = _numbers(values, what, ndim=1)
    broken = np.flatnonzero(~np.isfinite(numbers) | (numbers != np.round(numbers)))
    if len(broken):
        raise DataError(f"{what}: row {broken[0]} holds {values[broken[0]]}, not an integer.")
    return numbers.astype(np.int64)


def _subject_numbers(values: np.ndarray, what: str) -> Int64[np.ndarray, " n"]:
    if values.dtype.kind == "f":  # tables store all numbers as floats
        values = _integers(values, what)
        if len(values) and int(np.abs(values).max()) > _EXACT:
            raise DataError(
                f"{what}: {int(np.abs(values).max())} is too large to be exact in a table. "
                "Number the subjects from 0, or use an .npz file."
            )
    return number_subjects(values)


def _booleans(values: np.ndarray, what: str) -> Bool[np.ndarray, " n"]:
    numbers = _numbers(values, what, ndim=1)
    broken = np.flatnonzero((numbers != 0) & (numbers != 1))
    if len(broken):
        raise DataError(f"{what}: row {broken[0]} holds {values[broken[0]]}; give true or false.")
    return np.asarray(numbers == 1)


_READERS = {
    "probabilities": _probabilities,
    "labels": _integers,
    "member": _booleans,
    "known": _booleans,
    "subjects": _subject_numbers,
}


def _check_probabilities(p: Float[np.ndarray, "n c"]) -> None:
    if p.shape[1] < 2:
        raise DataError(
            f"probabilities have {p.shape[1]} column; a classifier has two or more. Of two classes "
            "give both: numpy.column_stack([1 - p, p]), where p belongs to class 1."
        )
    bad, off = [], []
    for rows in in_chunks(len(p), max(1, _CHUNK // p.shape[1])):
        part = p[rows].astype(np.float64)
        wrong = ~np.isfinite(part).all(axis=1) | (part < 0).any(axis=1)
        bad += (rows.start + np.flatnonzero(wrong)).tolist()
        off += (rows.start + np.flatnonzero(~are_probabilities(part))).tolist()
    if bad:
        raise DataError(
            f"probabilities: {len(bad)} rows hold NaN, infinite or negative values, the first is "
            f"row {bad[0]}."
        )
    if off:
        raise DataError(
            f"probabilities: {len(off)} rows do not sum to 1, the first is row {off[0]} with "
            f"{p[off[0]].astype(np.float64).sum():.6g}. Give softmax outputs, not logits."
        )
