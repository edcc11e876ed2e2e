"""What the tests of commands share."""

from __future__ import annotations

import pytest

import selena.models  # noqa: F401 - or it would be imported while patched, and keep the patch
from selena.attacks.threshold import ThresholdAttack


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the neural attack out of audits of predictions: it takes most of their time."""

    def attacks() -> list[ThresholdAttack]:
        return [ThresholdAttack("confidence"), ThresholdAttack("modified_entropy")]

    for room in ("cli.audit", "registry"):
        monkeypatch.setattr(f"selena.{room}.prediction_attacks", attacks)
