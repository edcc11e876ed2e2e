"""The oracle: lets an attack ask a target model within its access, and counts queries."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Tensor

from selena.errors import AccessError
from selena.training.flips import ask_flipped
from selena.training.model import MemoizedTarget
from selena.types import Access, DifferentiableModel, FilterModel, FlipModel, TargetModel

_LEVELS: tuple[Access, ...] = ("label", "logits", "gradient")

DELTA = 1e-5
"""The delta of a bound on epsilon if the target model states none."""


@runtime_checkable
class PrivateModel(TargetModel, Protocol):
    """A target model that states (epsilon, delta)-differential privacy of its training."""

    @property
    def epsilon(self) -> float:
        """Upper bound on epsilon, at `delta`."""
        ...

    @property
    def delta(self) -> float:
        """The delta for which `epsilon` is stated, in [0, 1)."""
        ...


@runtime_checkable
class AnsweredModel(TargetModel, Protocol):
    """A target model of which only the answers are known."""

    @property
    def answers(self) -> Shaped[Tensor, "n c"]:
        """All answers, by row."""
        ...


def stated_delta(target: TargetModel) -> float:
    """Return the delta that `target`, or the model behind a filter, states; else `DELTA`."""
    model = labelling(target)
    return model.delta if isinstance(model, PrivateModel) else DELTA


def labelling(target: TargetModel) -> TargetModel:
    """Return the model whose labels `target` predicts: behind a filter, the filtered model."""
    while isinstance(target, FilterModel):
        target = target.labels_of
    return target


class MeteredOracle:
    """Answers what the declared access allows, and counts the records it was asked about.

    Attributes:
        queries: number of records asked about so far.
    """

    def __init__(
        self, target: TargetModel, access: Access, memo: MemoizedTarget | None = None
    ) -> None:
        """Wrap `target`; `memo` shares remembered answers between oracles."""
        self._target = target
        self._memo = memo or MemoizedTarget(target)
        self._access = access
        self.queries = 0

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self._target.num_classes

    def labels(self, x: Shaped[Tensor, "n *features"]) -> Int[Tensor, " n"]:
        """Return predicted labels: the first of equally likely ones."""
        if isinstance(self._target, FilterModel):
            self.queries += len(x)
            return labelling(self._target).logits(x).argmax(dim=1)
        return self._answer(x).argmax(dim=1)

    def flipped_labels(
        self, x: UInt8[Tensor, "n d"], flips: Bool[Tensor, "k d"]
    ) -> Int[Tensor, "n k"]:
        """Return the predicted label of each record under each pattern of flipped bits.

        They equal `labels` of the flipped records, and count as many queries.
        """
        model = labelling(self._target)
        if isinstance(model, FlipModel):
            self.queries += len(x) * len(flips)
            return model.flipped_labels(x, flips)
        return ask_flipped(self.labels, x, flips)

    def logits(self, x: Shaped[Tensor, "n *features"]) -> Float[Tensor, "n c"]:
        """Return logits.

        Raises:
            AccessError: the attack declared access "label".
        """
        self._demand("logits")
        return self._answer(x)

    def differentiable_logits(self, x: Float[Tensor, "n *features"]) -> Float[Tensor, "n c"]:
        """Return logits through which gradients flow back to `x`.

        Raises:
            AccessError: the attack declared less than "gradient", or the target model has no
                gradients to give (an output filter, a table of predictions).
        """
        self._demand("gradient")
        if not isinstance(self._target, DifferentiableModel):
            raise AccessError(
                f"{type(self._target).__name__} gives no gradients; use an attack that needs "
                "labels or logits only."
            )
        self.queries += len(x)
        return self._target.differentiable_logits(x)

    def _answer(self, x: Tensor) -> Tensor:
        self.queries += len(x)
        return self._memo.logits(x)

    def _demand(self, access: Access) -> None:
        if _LEVELS.index(access) > _LEVELS.index(self._access):
            raise AccessError(
                f"This attack declared access {self._access!r} and asked for {access!r}. "
                f"Declare access={access!r}, so that the report can say so."
            )
