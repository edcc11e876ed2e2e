"""Charts as inline SVG, with every position as a share of the chart's width or height.

So a chart fits a desktop, a phone and a sheet of paper without a script. The template
`chart.html.j2` writes the values computed here; colors are names that the theme defines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any, Literal

Mark = Literal["curve", "bars", "points"]
Ends = tuple[tuple[float, float], ...]
"""Low and high end of one interval per point, in units of the axis."""

_TICKS = 5
_PATH = 1000
"""Width and height of the box in which paths are drawn."""


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        title: what it measures, with its unit.
        low: its left or lower end.
        high: its other end, above `low`.
        is_log: whether it is logarithmic; then `low` > 0 and values are shares in (0, 1].
    """

    title: str
    low: float
    high: float
    is_log: bool = False

    def share(self, value: float) -> float:
        """Return the position of `value`: 0 at the low end, 1 at the high, at most 0.1 outside."""
        if self.is_log:
            ends = log10(self.low), log10(self.high)
            # A logarithmic axis has no 0: it is put outside of the drawing.
            value = log10(max(value, self.low / 10))
        else:
            ends = self.low, self.high
        return min(1.1, max(-0.1, (value - ends[0]) / (ends[1] - ends[0])))

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Return values within the axis, each with its text."""
        if self.is_log:
            powers = range(ceil(log10(self.low) - 1e-9), floor(log10(self.high) + 1e-9) + 1)
            return [(10.0**power, f"{100 * 10.0**power:g}\u00a0%") for power in powers]
        rough = (self.high - self.low) / _TICKS
        size: float = 10.0 ** floor(log10(rough))
        step = next(each * size for each in (1, 2, 5, 10) if each * size >= rough * (1 - 1e-9))
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        values = [count * step for count in range(first, last + 1)]
        return [(value, f"{value:.10g}".replace("-", "−")) for value in values]


@dataclass(frozen=True)
class Band:
    """An area between two curves over the same x.

    Attributes:
        x: x positions of both curves.
        low: the lower curve.
        high: the upper one.
    """

    x: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Series:
    """A data series: one name, one color and one entry in the legend.

    Attributes:
        name: in the legend; plain text, also from users.
        color: a name that the theme defines, such as "c0".
        mark: a curve of steps, bars that start at 0, or points.
        x: positions in units of the x axis.
        y: values in units of the y axis.
        says: text that the pointer shows at each point; empty for no text.
        symbol: number of the shape of points.
        is_hollow: whether points are rings.
        width: width of one bar, in units of the x axis.
        band: the interval around a curve.
        x_ends: the intervals of points along x.
        y_ends: the intervals of points along y.
    """

    name: str
    color: str
    mark: Mark
    x: tuple[float, ...]
    y: tuple[float, ...]
    says: tuple[str, ...] = ()
    symbol: int = 0
    is_hollow: bool = False
    width: float = 0.0
    band: Band | None = None
    x_ends: Ends = ()
    y_ends: Ends = ()


@dataclass(frozen=True)
class Chart:
    """One drawing.

    Attributes:
        title: heading, plain text.
        alt: description for readers who cannot see the drawing; plain text.
        x: the x axis.
        y: the y axis.
        series: in the order in which they are drawn.
        guess: the value of `y` for guessing, or "diagonal"; None draws no line.
        height: height of the drawing, in pixels.
    """

    title: str
    alt: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    guess: float | Literal["diagonal"] | None = None
    height: int = 300

    def left(self, value: float) -> str:
        """Return the distance from the left side, in percent of the width."""
        return _percent(self.x.share(value))

    def top(self, value: float) -> str:
        """Return the distance from the top, in percent of the height."""
        return _percent(1 - self.y.share(value))

    def bars(self, series: Series) -> list[tuple[str, str, str, str]]:
        """Return left, top, width and height of each bar that is not empty."""
        found = []
        for x, y in zip(series.x, series.y, strict=True):
            start, end = (self.x.share(x + side * series.width / 2) for side in (-1, 1))
            height = self.y.share(y) - self.y.share(0)
            if height > 0:
                found.append(
                    (_percent(start), self.top(y), _percent(end - start), _percent(height))
                )
        return found

    def steps(self, series: Series) -> str:
        """Return the path of a step curve: each value holds until the next point."""
        points = [self._point(x, y) for x, y in zip(series.x, series.y, strict=True)]
        (x, y), *rest = points
        return f"M{x} {y}" + "".join(f"H{x}V{y}" for x, y in rest)

    def area(self, band: Band) -> str:
        """Return the path around a band."""
        up = zip(band.x, band.low, strict=True)
        down = zip(band.x[::-1], band.high[::-1], strict=True)
        return "M" + "L".join(
            "{} {}".format(*self._point(x, y)) for side in (up, down) for x, y in side
        )

    def diagonal(self) -> str:
        """Return the line of guessing in a ROC curve, which is straight on equal axes."""
        low, high = self._point(self.x.low, self.y.low), self._point(1, 1)
        return "M{} {}L{} {}".format(*low, *high)

    def readings(self) -> list[dict[str, Any]]:
        """Return, per series, the texts for the pointer and their places, in percent."""
        return [
            {
                "x": [_rounded(100 * self.x.share(x)) for x in series.x],
                "y": [_rounded(100 * (1 - self.y.share(y))) for y in series.y],
                "says": list(series.says),
            }
            if series.says
            else {"x": [], "y": [], "says": []}
            for series in self.series
        ]

    def _point(self, x: float, y: float) -> tuple[str, str]:
        across, down = _PATH * self.x.share(x), _PATH * (1 - self.y.share(y))
        return f"{_rounded(across):g}", f"{_rounded(down):g}"


def around(values: Sequence[float], title: str) -> Axis:
    """Return an axis that shows all `values` with some room on both sides."""
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 1.0
    return Axis(title, low - room, high + room)


def _percent(share: float) -> str:
    return f"{_rounded(100 * share):g}%"


def _rounded(number: float) -> float:
    return round(number, 2)
