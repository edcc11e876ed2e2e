"""What the tests of commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from selena.attacks.signal_attack import ThresholdAttack
from selena.models.chosen import chosen_attacks
from selena.types import Attack


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the neural attack out of audits of predictions: it takes most of their time."""

    def quick(attacks: Sequence[str | Attack], *rest: Any) -> list[Attack]:
        fast: list[Attack] = [ThresholdAttack("confidence"), ThresholdAttack("modified_entropy")]
        return fast if tuple(attacks) == ("direct",) else chosen_attacks(attacks, *rest)

    monkeypatch.setattr("selena.models.run.chosen_attacks", quick)
