"""Every printed interval covers the true value in at least 93 % of the cases, by simulation.

Seeds are fixed, so a verdict never changes from run to run. The share that must cover is 93 % less
three standard deviations of a binomial count: an interval that covers 93 % would fail for one
seed in 700. `benchmarks/coverage.py` draws all settings more often.
"""

from __future__ import annotations

from math import sqrt

import pytest

from benchmarks.coverage import Setting, attacks, others

COVERED = 0.93
# The smallest of each kind: few records are the hardest to cover.
QUICK = [*attacks((100,)), *{setting.what: setting for setting in reversed([*others()])}.values()]


def named(setting: Setting) -> str:
    return f"{setting.what}, {setting.detail}, {setting.n}"


@pytest.mark.parametrize("setting", QUICK, ids=named)
def test_intervals_cover(setting: Setting) -> None:
    repetitions = 20 if setting.what == "search" else 100
    slack = 3 * sqrt(COVERED * (1 - COVERED) / repetitions)
    shares = setting.covered(repetitions)
    assert {name: share for name, share in shares.items() if share < COVERED - slack} == {}


@pytest.mark.slow
@pytest.mark.parametrize("setting", [*attacks(), *others()], ids=named)
def test_intervals_cover_closely(setting: Setting) -> None:
    repetitions = 2000
    slack = 3 * sqrt(COVERED * (1 - COVERED) / repetitions)
    shares = setting.covered(repetitions)
    assert {name: share for name, share in shares.items() if share < COVERED - slack} == {}
