"""What the tests of estimators share."""

from __future__ import annotations

from functools import partial

import pytest

from selena.defenses.memguard import MemGuard
from selena.defenses.memguard_noise import NoiseSearch


@pytest.fixture
def short_walks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let MemGuard give up after 10 steps of 300, where it matters not how much noise is found."""
    quick = partial(MemGuard, search=NoiseSearch(most_steps=10))
    monkeypatch.setattr("selena.sklearn.memguard.MemGuard", quick)
