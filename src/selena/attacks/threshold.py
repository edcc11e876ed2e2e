"""Direct attacks that need one prediction a record and nothing to train: a signal is the score.

Yeom et al. 2018 and Song & Mittal 2021, as in Tang et al. 2022, Section 5.2. The thresholds, one
for all classes or one a class, are fitted by whoever holds the truth about the known records.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from selena.errors import unknown_name
from selena.signals import SIGNALS, SignalName
from selena.training.batches import in_answer_chunks
from selena.types import Access, Family, Knowledge, Oracle, Records
from selena.workspace import Workspace


@dataclass(frozen=True)
class ThresholdAttack:
    """Scores a record by one signal of the target's prediction.

    Attributes:
        signal: "correctness" (needs the predicted label only), "confidence", "entropy" or
            "modified_entropy"; see `selena.signals`.
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
    def family(self) -> Family:
        """A direct single-query attack."""
        return "direct"

    @property
    def access(self) -> Access:
        """Predicted labels for correctness, logits for the others."""
        return "label" if self.signal == "correctness" else "logits"

    def fit(
        self, oracle: Oracle, known: Knowledge, *, seed: int, workspace: Workspace | None = None
    ) -> SignalScorer:
        """Return a scorer; nothing is learned and no randomness used."""
        return SignalScorer(oracle, self.signal, known)


@dataclass(frozen=True)
class SignalScorer:
    """A signal and the oracle that it is read from.

    Attributes:
        oracle: answers the queries.
        signal: name of the signal.
        calibration: all known records.
    """

    oracle: Oracle
    signal: SignalName
    calibration: Knowledge

    def score(self, candidates: Records) -> Float[Tensor, " n"]:
        """Return the signal of each candidate, float64; higher means member."""
        chunks = in_answer_chunks(len(candidates), self.oracle.num_classes)
        return torch.cat([self._score(candidates.x[c], candidates.y[c]) for c in chunks])

    def _score(self, x: Shaped[Tensor, "n *features"], y: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        if self.signal == "correctness":  # asks for no more than the access it declares
            return (self.oracle.labels(x) == y).double()
        return SIGNALS[self.signal](self.oracle.logits(x), y)
