"""What the tests of commands share."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

import selena.models.run
from selena.attacks.threshold import ThresholdAttack


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the neural attack out of audits of predictions: it takes most of their time."""

    chosen = selena.models.run.chosen_attacks

    def quick(attacks: Sequence[object], *rest: object) -> list[object]:
        fast = [ThresholdAttack("confidence"), ThresholdAttack("modified_entropy")]
        return fast if tuple(attacks) == ("direct",) else chosen(attacks, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("selena.models.run.chosen_attacks", quick)
