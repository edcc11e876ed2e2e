from __future__ import annotations

import pytest
import torch
from torch import Tensor

from selena.attacks.signal_attack import ThresholdAttack
from selena.attacks.signals import SIGNALS, SignalName
from selena.errors import AccessError, ConfigError
from selena.types import Attack, MembershipSets, Records

LOGITS = torch.tensor([[3.0, 0.0], [0.0, 1.0], [2.0, 2.0], [-1.0, 4.0]])


class LabelsOnly:
    """Rows of LOGITS by number; refuses everything but labels."""

    num_classes = 2

    def labels(self, x: Tensor) -> Tensor:
        return LOGITS[x[:, 0]].argmax(dim=1)

    def logits(self, x: Tensor) -> Tensor:
        raise AccessError("labels only")

    def flipped_labels(self, x: Tensor, flips: Tensor) -> Tensor:
        raise AccessError("labels only")

    def differentiable_logits(self, x: Tensor) -> Tensor:
        raise AccessError("labels only")


class WithLogits(LabelsOnly):
    def logits(self, x: Tensor) -> Tensor:
        return LOGITS[x[:, 0]]


def records(*rows: int) -> Records:
    numbers = torch.tensor(rows)
    return Records(numbers[:, None], torch.tensor([0, 0, 0, 1])[numbers], numbers)


KNOWN = MembershipSets(records(0, 3), records(1))


@pytest.mark.parametrize("name", SIGNALS)
def test_score_is_the_signal(name: SignalName) -> None:
    attack: Attack = ThresholdAttack(name)
    assert (attack.name, attack.family) == (name, "direct")
    assert attack.access == ("label" if name == "correctness" else "logits")
    scorer = attack.fit(WithLogits(), KNOWN, seed=0)
    assert scorer.calibration is KNOWN
    candidates = records(3, 2, 1, 0)
    expected = SIGNALS[name](LOGITS.flip(0), candidates.y)
    assert torch.equal(scorer.score(candidates), expected)


def test_correctness_asks_for_labels_only() -> None:
    scorer = ThresholdAttack("correctness").fit(LabelsOnly(), KNOWN, seed=0)
    assert scorer.score(records(0, 1, 2, 3)).tolist() == [1, 0, 1, 1]
    with pytest.raises(AccessError):
        ThresholdAttack("entropy").fit(LabelsOnly(), KNOWN, seed=0).score(records(0))


@pytest.mark.usefixtures("unchecked")
def test_unknown_signal_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'confidence'"):
        ThresholdAttack("confidense")  # type: ignore[arg-type]
