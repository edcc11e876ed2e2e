"""Charts as SVG: where values lie, which ticks an axis has, and what the pointer reads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from selena.reports.page.drawing import Axis, Band, Chart, Series, around

PERCENT = Axis("x", 0.0, 100.0)
SHARES = Axis("FPR", 0.001, 1.0, is_log=True)
CURVE = Series("a", "c0", "curve", (0.0, 0.01, 1.0), (0.1, 0.5, 1.0), ("p", "q", "r"))
ROC = Chart("t", "alt", SHARES, SHARES, (CURVE,), guess="diagonal")


def test_a_linear_axis_has_round_ticks_inside() -> None:
    assert [text for _, text in PERCENT.ticks] == ["0", "20", "40", "60", "80", "100"]
    assert [text for _, text in Axis("x", -0.13, 0.21).ticks] == ["−0.1", "0", "0.1", "0.2"]
    narrow = Axis("x", 1e-7, 1.1e-7).ticks
    assert 3 <= len(narrow) <= 7
    assert all(1e-7 <= value <= 1.1e-7 * (1 + 1e-9) for value, _ in narrow)


def test_a_logarithmic_axis_has_a_tick_per_decade() -> None:
    ticks = ["0.1\u00a0%", "1\u00a0%", "10\u00a0%", "100\u00a0%"]
    assert [text for _, text in SHARES.ticks] == ticks
    assert [text for _, text in replace(SHARES, low=0.002).ticks] == ticks[1:]


def test_values_lie_at_shares_of_their_axis() -> None:
    assert PERCENT.share(25) == 0.25
    assert SHARES.share(0.1) == pytest.approx(2 / 3)
    # What is outside stays near, so that a browser need not draw what nobody sees.
    assert (PERCENT.share(1e9), PERCENT.share(-1e9), SHARES.share(0)) == (1.1, -0.1, -0.1)


def test_a_curve_goes_right_before_it_goes_up() -> None:
    assert ROC.steps(CURVE) == "M-100 333.33H333.33V100.34H1000V0"


def test_a_band_is_closed_over_both_sides() -> None:
    band = Band((0.001, 1.0), (0.01, 0.1), (0.1, 1.0))
    assert ROC.area(band) == "M0 666.67L1000 333.33L1000 0L0 333.33"


def test_guessing_is_straight_on_equal_axes() -> None:
    assert ROC.diagonal() == "M0 1000L1000 0"


def test_bars_begin_at_0_and_empty_ones_are_left_out() -> None:
    bars = Series("a", "c0", "bars", (25.0, 75.0), (10.0, 0.0), width=50.0)
    chart = Chart("t", "alt", PERCENT, Axis("y", 0.0, 20.0), (bars,))
    assert chart.bars(bars) == [("0%", "50%", "50%", "50%")]


def test_the_pointer_reads_each_point_where_it_lies() -> None:
    silent = replace(CURVE, says=())
    first, second = replace(ROC, series=(CURVE, silent)).readings()
    assert first["says"] == ["p", "q", "r"]
    assert first["x"] == [-10.0, 33.33, 100.0]
    assert first["y"] == [33.33, 10.03, 0.0]
    assert second == {"x": [], "y": [], "says": []}


def test_an_axis_around_one_value_has_width() -> None:
    axis = around([5.0], "x")
    assert (axis.low, axis.high) == (4.0, 6.0)
    assert len(axis.ticks) > 2
