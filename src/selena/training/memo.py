"""A target model that remembers its last answers, for attacks that ask the same again."""

from __future__ import annotations

from collections import OrderedDict

from jaxtyping import Float, Shaped
from torch import Tensor

from selena.environment.fingerprint import tensor_digest
from selena.types import TargetModel


class MemoizedTarget:
    """A target model that remembers its last answers.

    Several attacks ask about the same records; an ensemble or an output filter should compute
    those answers only once. An oracle still counts each query. Do not wrap a target with random
    answers: asking it again is an attack, and must give new answers.
    """

    def __init__(self, target: TargetModel, keep: int = 8) -> None:
        """Wrap `target`, keeping its answers to the last `keep` batches; 0 keeps none.

        A target that looks its answers up (`is_table`) is asked each time, since a look-up costs
        less than remembering.
        """
        self._target = target
        self._keep = 0 if getattr(target, "is_table", False) else keep
        self._answers: OrderedDict[str, Tensor] = OrderedDict()

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self._target.num_classes

    def logits(self, x: Shaped[Tensor, "n *features"]) -> Float[Tensor, "n c"]:
        """Return logits, from memory or from the target."""
        if self._keep == 0:
            return self._target.logits(x)
        name = tensor_digest(x)
        if name not in self._answers:
            self._answers[name] = self._target.logits(x)
            if len(self._answers) > self._keep:
                self._answers.popitem(last=False)
        self._answers.move_to_end(name)
        return self._answers[name].clone()
