"""Audits of models that predict a number (regression) or several labels per record.

The user gives the model's answers and the truth as arrays. Each signal is one number per record,
computed here, and the audit treats it like any direct attack: thresholds are fitted on known
records, and figures are of the others.

Regression: the negative absolute error (the error as the signal, as in Yeom et al. 2018), and with
reference models LiRA on residuals (Carlini et al. 2022, Algorithms 1 and 2, with the residual in
place of the log-odds).

Several labels per record: each label is a decision between two classes. The signals of these
decisions (`selena.attacks.signals`) are summed over labels; the loss is the sum of cross-entropies.
A learned signal weighs outputs and labels together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int, Shaped
from scipy.special import log_expit
from torch import Tensor

from selena.attacks.reference_scores import lira_scores
from selena.attacks.signal_attack import SignalAttack
from selena.attacks.signals import SIGNALS
from selena.auditing.report import AuditReport
from selena.auditing.run import run_audit
from selena.data.subjects import number_subjects
from selena.errors import ConfigError, DataError
from selena.models.checks import warn_of_few
from selena.models.learned import learned_signal
from selena.seeding import numpy_generator
from selena.types import Access, AuditSplit, Family, MembershipSets, Oracle, Records

_MOST = 40.0
"""Log-odds beyond which a probability is 0 or 1 in float64; sums over labels stay finite."""


def audit_regression(
    predicted: Any,
    y: Any,
    member: Any,
    *,
    known: Any = None,
    known_fraction: float = 0.5,
    subjects: Any = None,
    references: Any = None,
    inside: Any = None,
    tolerance: float | None = None,
    fpr: float = 0.01,
    seed: int = 0,
) -> AuditReport:
    """Attack a regressor by its errors, and report what leaks about who was in its training data.

    Args:
        predicted: n predictions, one number per record.
        y: n true values.
        member: n booleans, whether the model was trained on the record.
        known: n booleans, whether the attacker knows the record's membership and may fit on it;
            None draws `known_fraction` of each side.
        known_fraction: share of members and of non-members that the attacker knows, in (0, 1).
        subjects: subject id of each row, integers or strings (-1: nobody's); None for rows of
            different persons.
        references: r x n predictions of reference models for the same records; None without LiRA.
        inside: r x n booleans, whether the reference model trained on the record.
        tolerance: absolute error up to which the report counts a prediction as right, above 0; by
            default the median absolute error on known non-members.
        fpr: the false-positive rate that matters, in (0, 1]; too few records for it are warned of.
        seed: root of every draw.

    Returns:
        The report. Its attacks are "absolute_error" and, with references, "lira_residual".

    Raises:
        DataError: shapes that disagree, values that are not finite, a side that is empty, or a
            record without reference models on a needed side.
        ConfigError: a setting out of range, or only one of `references` and `inside`.
    """
    f, truth = _column(predicted, "predicted"), _column(y, "y")
    table = _Sides.of(len(truth), member, known, known_fraction, subjects, seed)
    _same_length({"y": truth, "predicted": f})
    error = np.abs(truth - f)
    signals = {"absolute_error": -error}
    if (references is None) != (inside is None):
        raise ConfigError("LiRA needs references and inside. Give both, or neither.")
    if references is not None:
        signals["lira_residual"] = _lira(truth, f, references, inside)
    if tolerance is None:
        tolerance = float(np.median(error[table.known & ~table.member]))
    elif not tolerance > 0:
        raise ConfigError(f"tolerance is {tolerance}; it must be above 0.")
    return _audit(table, error <= tolerance, signals, fpr, seed)


def audit_multilabel(
    probabilities: Any,
    labels: Any,
    member: Any,
    *,
    known: Any = None,
    known_fraction: float = 0.5,
    subjects: Any = None,
    fpr: float = 0.01,
    seed: int = 0,
) -> AuditReport:
    """Attack a model that gives each record several labels, by its sigmoid outputs.

    Args:
        probabilities: n x L, the probability of each label on its own, in [0, 1].
        labels: n x L, 1 where the record has the label, else 0.
        member: n booleans, whether the model was trained on the record.
        known: n booleans, whether the attacker knows the record's membership and may fit on it;
            None draws `known_fraction` of each side.
        known_fraction: share of members and of non-members that the attacker knows, in (0, 1).
        subjects: subject id of each row, integers or strings (-1: nobody's); None for rows of
            different persons.
        fpr: the false-positive rate that matters, in (0, 1]; too few records for it are warned of.
        seed: root of every draw.

    Returns:
        The report. The model is right about a record where it is right about all of its labels.
        Its attacks are "correctness" (number of labels that are right), "loss", "confidence",
        "entropy" and "modified_entropy". With 50 known persons per side or more there is "learned",
        boosted trees that learn from known records what outputs, labels and loss of members are.

    Raises:
        DataError: shapes that disagree, values out of range, or a side that is empty.
        ConfigError: a setting out of range.
    """
    p, truth = _matrix(probabilities, "probabilities"), _matrix(labels, "labels")
    if p.shape != truth.shape:
        raise DataError(
            f"probabilities have shape {p.shape} and labels {truth.shape}. Give one column per "
            "label in both."
        )
    if not ((p >= 0) & (p <= 1)).all():
        raise DataError(
            "probabilities hold values outside of [0, 1]. Give sigmoid outputs, not logits."
        )
    if not np.isin(truth, (0, 1)).all():
        raise DataError("labels hold other values than 0 and 1. Give one 0 or 1 per label.")
    table = _Sides.of(len(truth), member, known, known_fraction, subjects, seed)
    with np.errstate(divide="ignore"):
        odds = np.clip(np.log(p) - np.log1p(-p), -_MOST, _MOST)
    of_truth = log_expit(np.where(truth == 1, odds, -odds))
    right = (p > 0.5) == (truth == 1)
    signals = {"loss": of_truth.sum(axis=1)} | {
        name: _summed(name, odds, truth)
        for name in ("correctness", "confidence", "entropy", "modified_entropy")
    }
    shown = np.column_stack([p, truth, signals["loss"]])
    learned = learned_signal(shown, table.member, table.known, table.whose, seed=seed)
    if learned is not None:
        signals["learned"] = learned
    return _audit(table, right.all(axis=1), signals, fpr, seed)


def _summed(
    name: Any, odds: Float64[np.ndarray, "n l"], truth: Float64[np.ndarray, "n l"]
) -> Float64[np.ndarray, " n"]:
    """Return a signal of decisions between two classes, summed over labels."""
    logits = torch.from_numpy(np.stack([np.zeros_like(odds), odds], axis=-1).reshape(-1, 2))
    of_each = SIGNALS[name](logits, torch.from_numpy(truth.reshape(-1).astype(np.int64)))
    total: Float64[np.ndarray, " n"] = of_each.numpy().reshape(odds.shape).sum(axis=1)
    return total


def _lira(
    y: Float64[np.ndarray, " n"], f: Float64[np.ndarray, " n"], references: Any, inside: Any
) -> Float64[np.ndarray, " n"]:
    """Return LiRA's scores on residuals: online if two models or more are on either side."""
    theirs, trained = _matrix(references, "references"), np.asarray(inside)
    if theirs.shape[1] != len(y) or trained.shape != theirs.shape or trained.dtype.kind != "b":
        raise DataError(
            f"references have shape {theirs.shape} and inside {trained.shape} of type "
            f"{trained.dtype}; both must be models x {len(y)}, and inside booleans."
        )
    online = bool(((trained.sum(axis=0) >= 2) & ((~trained).sum(axis=0) >= 2)).all())
    if online:
        return lira_scores(y - f, y - theirs, trained)
    # Offline, only the size of an error tells members from non-members.
    return lira_scores(-np.abs(y - f), -np.abs(y - theirs), trained, online=False)


@dataclass(frozen=True, eq=False)
class _Sides:
    """Which records are members, and whose membership the attacker knows.

    Attributes:
        member: True for members.
        known: True for known records.
        subjects: numbers of subjects, or None.
    """

    member: Bool[np.ndarray, " n"]
    known: Bool[np.ndarray, " n"]
    subjects: Int[np.ndarray, " n"] | None

    @classmethod
    def of(
        cls, n: int, member: Any, known: Any, fraction: float, subjects: Any, seed: int
    ) -> _Sides:
        """Return checked sides of `n` records."""
        members = _mask(member, n, "member")
        if subjects is not None and np.shape(subjects) != (n,):
            raise DataError(
                f"subjects have shape {np.shape(subjects)}; give one for each of {n} records."
            )
        numbers = None if subjects is None else number_subjects(np.asarray(subjects))
        if known is not None:
            return cls(members, _mask(known, n, "known"), numbers)._checked()
        if not 0 < fraction < 1:
            raise ConfigError(f"known_fraction is {fraction}; it must be in (0, 1).")
        whose = cls(members, members, numbers).whose
        chosen = np.zeros(n, dtype=bool)
        for name, side in (("members", members), ("others", ~members)):
            persons = np.unique(whose[side])
            order = numpy_generator(seed, "known", name).permutation(persons)
            chosen |= side & np.isin(whose, order[: round(fraction * len(order))])
        return cls(members, chosen, numbers)._checked()

    @property
    def whose(self) -> Int[np.ndarray, " n"]:
        """Number of the person behind each record; below 0 for records of nobody else's."""
        alone = -1 - np.arange(len(self.member))
        return alone if self.subjects is None else np.where(self.subjects < 0, alone, self.subjects)

    def _checked(self) -> _Sides:
        for known, which in ((self.known, "known"), (~self.known, "scored")):
            for member, who in ((self.member, "members"), (~self.member, "non-members")):
                if not (known & member).any():
                    raise DataError(
                        f"There are no {which} {who}. Thresholds are fitted on known records and "
                        "scored on the others: both need members and non-members."
                    )
        return self

    def split(self, x: Float64[np.ndarray, "n s"]) -> AuditSplit:
        """Return records whose features are their signals."""

        def rows(chosen: Bool[np.ndarray, " n"]) -> Records:
            ids = np.flatnonzero(chosen)
            subjects = None if self.subjects is None else torch.from_numpy(self.subjects[ids])
            y = torch.zeros(len(ids), dtype=torch.int64)
            return Records(torch.from_numpy(x[ids]), y, torch.from_numpy(ids), subjects)

        def sets(chosen: Bool[np.ndarray, " n"], what: str) -> MembershipSets:
            sides = chosen & self.member, chosen & ~self.member
            if not all(side.any() for side in sides):
                raise DataError(
                    f"There are no {what} members or no {what} non-members. Give both: thresholds "
                    "are fitted on known records and scored on the others."
                )
            return MembershipSets(*map(rows, sides))

        return AuditSplit(
            sets(self.known, "known"), sets(~self.known, "other"), rows(np.zeros_like(self.known))
        )


@dataclass(frozen=True, eq=False)
class _SignalTable:
    """A table of signals as a model; the first number of a record says whether it is right."""

    num_classes: ClassVar[int] = 2
    is_table: ClassVar[bool] = True

    def logits(self, x: Shaped[Tensor, "n s"]) -> Float[Tensor, "n 2"]:
        return torch.stack([x[:, 0], 1 - x[:, 0]], dim=1)


@dataclass(frozen=True)
class _SignalColumn(SignalAttack):
    """Reads one signal of each record.

    Attributes:
        name: name of the signal.
        column: its column.
        family: "direct", or "reference-model" if it uses reference models.
        access: the answers that it needs.
    """

    name: str
    column: int
    family: Family  # type: ignore[misc] # a class variable of the base
    access: Access = "logits"

    def measure(
        self, oracle: Oracle, x: Shaped[Tensor, "n *features"], y: Int[Tensor, " n"]
    ) -> Shaped[Tensor, " n"]:
        oracle.labels(x)  # a query: the signal was computed from one answer
        return x[:, self.column]


def _audit(
    table: _Sides,
    right: Bool[np.ndarray, " n"],
    signals: Mapping[str, Float64[np.ndarray, " n"]],
    fpr: float,
    seed: int,
) -> AuditReport:
    x = np.column_stack([right.astype(np.float64), *signals.values()])
    split = table.split(x)
    warn_of_few(split, fpr)
    attacks = [
        _SignalColumn(name, i + 1, "reference-model" if name.startswith("lira") else "direct")
        for i, name in enumerate(signals)
    ]
    return run_audit(_SignalTable(), split, attacks, seed=seed)


def _numbers(values: Any, what: str, ndim: int) -> Float64[np.ndarray, "..."]:
    try:
        array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
        array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} are no numbers ({error}). Give an array of numbers.") from error
    if array.ndim == 2 and ndim == 1 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != ndim:
        wanted = "one number per record" if ndim == 1 else "one row per record or model"
        raise DataError(
            f"{what} have shape {array.shape}; give {wanted}. Several numbers per record, "
            "sequences and intervals are not supported: audit each number on its own."
        )
    broken = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
    if len(broken):
        raise DataError(
            f"{what} hold values that are not finite, the first in row {broken[0]}. Leave those "
            "records out."
        )
    return array


def _column(values: Any, what: str) -> Float64[np.ndarray, " n"]:
    return _numbers(values, what, 1)


def _matrix(values: Any, what: str) -> Float64[np.ndarray, "n l"]:
    return _numbers(values, what, 2)


def _mask(values: Any, n: int, what: str) -> Bool[np.ndarray, " n"]:
    mask = np.asarray(values)
    if mask.shape != (n,) or not np.isin(mask, (0, 1)).all():
        raise DataError(
            f"{what} has shape {mask.shape}; give True or False for each of {n} records."
        )
    return mask.astype(bool)


def _same_length(arrays: Mapping[str, np.ndarray]) -> None:
    if len({len(array) for array in arrays.values()}) > 1:
        sizes = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise DataError(f"The numbers of records disagree: {sizes}.")
