"""Attacks that learn nothing: they compute one number per record from one answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from selena.attacks.signals import SIGNALS, SignalName
from selena.errors import unknown_name
from selena.training.batches import in_answer_chunks
from selena.types import Access, Family, MembershipSets, Needs, Oracle, Records
from selena.workspace import Workspace


class SignalAttack(ABC):
    """Scores a record by `measure`; a subclass adds `name`, `access` and that method.

    The audit fits thresholds to the scores. `examples/own_attack.py` shows an attack that learns.
    """

    family: ClassVar[Family] = "direct"
    needs: ClassVar[Needs] = "predictions"

    @abstractmethod
    def measure(
        self, oracle: Oracle, x: Shaped[Tensor, "n *features"], y: Int[Tensor, " n"]
    ) -> Shaped[Tensor, " n"]:
        """Ask the oracle about `x` and return one number per record; higher means member.

        Args:
            oracle: answers with logits (n x c), or with labels if `access` is "label".
            x: the records, unchanged.
            y: true classes, in [0, c).
        """

    def fit(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> SignalScorer:
        """Return a scorer; it learns nothing and draws nothing."""
        return SignalScorer(oracle, self, known)


@dataclass(frozen=True)
class SignalScorer:
    """Scores records by a signal of the oracle's answers.

    Attributes:
        oracle: answers the queries.
        attack: computes its signal from the answers.
        calibration: all known records.
    """

    oracle: Oracle
    attack: SignalAttack
    calibration: MembershipSets

    def score(self, candidates: Records) -> Float[Tensor, " n"]:
        """Return the signal of each candidate, float64."""
        x, y = candidates.x, candidates.y
        chunks = in_answer_chunks(len(candidates), self.oracle.num_classes)
        return torch.cat([self.attack.measure(self.oracle, x[c], y[c]) for c in chunks]).double()


@dataclass(frozen=True)
class ThresholdAttack(SignalAttack):
    """Scores a record by one signal of the target's prediction.

    Attributes:
        signal: "correctness" (needs only the predicted label), "confidence", "entropy" or
            "modified_entropy"; see `selena.attacks.signals`.
    """

    signal: SignalName

    def __post_init__(self) -> None:
        if self.signal not in SIGNALS:
            raise unknown_name("signal", self.signal, SIGNALS)

    @property
    def name(self) -> str:
        """The signal's name."""
        return self.signal

    @property
    def access(self) -> Access:
        """Predicted labels for correctness, logits for the others."""
        return "label" if self.signal == "correctness" else "logits"

    def measure(
        self, oracle: Oracle, x: Shaped[Tensor, "n *features"], y: Int[Tensor, " n"]
    ) -> Shaped[Tensor, " n"]:
        """Return the signal, float64."""
        if self.signal == "correctness":  # asks for no more than the access it declares
            return (oracle.labels(x) == y).double()
        return SIGNALS[self.signal](oracle.logits(x), y)
