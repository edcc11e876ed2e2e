"""Direct attacks with one query per record and no training: the score is a signal.

Yeom et al. 2018 and Song & Mittal 2021, as in Tang et al. 2022, Section 5.2. The audit fits the
thresholds on known records: one for all classes, and one per class.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Int, Shaped
from torch import Tensor

from selena.attacks.signal_attack import SignalAttack
from selena.attacks.signals import SIGNALS, SignalName
from selena.errors import unknown_name
from selena.types import Access, Oracle


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
