"""The drawings: utility against leakage, the course of one run, and sweeps over K and L."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.container import Container
from matplotlib.figure import Figure

from selena.files.escaping import figure as plain

# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
UTILITY, LEAKAGE = COLORS[0], COLORS[1]
_GUESS = 50.0


@dataclass(frozen=True)
class Value:
    """A figure in percent, with the ends of its error bar."""

    percent: float
    low: float
    high: float

    @property
    def bar(self) -> tuple[float, float]:
        """Lengths of the error bar below and above."""
        return max(0.0, self.percent - self.low), max(0.0, self.high - self.percent)


@dataclass(frozen=True)
class Point:
    """One defense: test accuracy, leakage, and the published values, if there are any."""

    label: str
    utility: Value
    leakage: Value
    published: tuple[float, float] | None = None


def draw_tradeoff(points: Sequence[Point], *, title: str, published_label: str) -> Figure:
    """Draw test accuracy against attack accuracy; one marker per defense, hollow if published."""
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    panel = figure.subplots()
    for point, color, marker in zip(points, COLORS, "osD^vP", strict=False):
        panel.errorbar(
            point.utility.percent,
            point.leakage.percent,
            xerr=[[length] for length in point.utility.bar],
            yerr=[[length] for length in point.leakage.bar],
            fmt=marker,
            color=color,
            capsize=3,
            markersize=8,
            label=plain(point.label.replace("_", " ")),
        )
        if point.published:
            panel.plot(*point.published, marker, color=color, fillstyle="none", markersize=8)
    if any(point.published for point in points):
        panel.plot([], [], "o", color="grey", fillstyle="none", markersize=8, label=published_label)
    _guess(panel)
    panel.set(xlabel="test accuracy (%)", ylabel="accuracy of the best attack (%)")
    panel.set_title(plain(title))
    panel.set_ylim(bottom=_GUESS - 2)
    panel.grid(alpha=0.3)
    handles, _ = panel.get_legend_handles_labels()
    # Defenses first: Matplotlib's own order puts lines before markers with error bars.
    _legend(figure, sorted(handles, key=lambda handle: isinstance(handle, Artist)))
    return figure


def draw_worst_case(points: Sequence[Point], *, title: str, fpr: float) -> Figure:
    """Draw test accuracy against the highest TPR on any kind of record: a marker per defense."""
    figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    panel = figure.subplots()
    for place, point in enumerate(points):
        panel.errorbar(
            point.utility.percent,
            point.leakage.percent,
            xerr=[[length] for length in point.utility.bar],
            yerr=[[length] for length in point.leakage.bar],
            fmt="osD^vP"[place // len(COLORS) % 6],
            color=COLORS[place % len(COLORS)],
            capsize=2,
            elinewidth=0.8,
            markersize=7,
            label=plain(point.label.replace("_", " ")),
        )
    panel.axhline(100 * fpr, linestyle=":", color="grey", label="random guess of membership")
    panel.set(
        xlabel="test accuracy (%)",
        ylabel=f"highest TPR at {100 * fpr:g} % FPR, any kind, LiRA or RMIA (%)",
        ylim=(0, 102),
    )
    panel.set_title(plain(title))
    panel.grid(alpha=0.3)
    handles, _ = panel.get_legend_handles_labels()
    _legend(figure, sorted(handles, key=lambda handle: isinstance(handle, Artist)))
    return figure


@dataclass(frozen=True)
class Course:
    """Utility and leakage along an axis, with horizontal levels for comparison."""

    x: Sequence[int]
    utility: Sequence[Value]
    leakage: Sequence[Value]
    levels: tuple[float, float] | None = None


def draw_courses(
    courses: Sequence[tuple[str, Course]], *, title: str, what: str, levels: str, marker: str = ""
) -> Figure:
    """Draw one panel per course.

    Args:
        courses: label of the x axis, and the curves above it.
        title: title of the whole figure.
        what: model of the curves.
        levels: model of the dashed levels.
        marker: marker of each point, if there are few points.
    """
    figure = Figure(figsize=(6.4 * len(courses), 4.6), layout="constrained")
    figure.suptitle(plain(title))
    for panel, (label, course) in zip(
        figure.subplots(1, len(courses), squeeze=False)[0], courses, strict=True
    ):
        for values, color, name in (
            (course.utility, UTILITY, "test accuracy"),
            (course.leakage, LEAKAGE, "best direct attack"),
        ):
            panel.plot(
                course.x,
                [v.percent for v in values],
                color=color,
                marker=marker,
                label=plain(f"{what}: {name}"),
            )
            lows, highs = [v.low for v in values], [v.high for v in values]
            panel.fill_between(course.x, lows, highs, color=color, alpha=0.15, linewidth=0)
        for level, color, name in zip(
            course.levels or (),
            (UTILITY, LEAKAGE),
            ("test accuracy", "best direct attack"),
            strict=False,
        ):
            panel.axhline(level, linestyle="--", color=color, label=f"{levels}: {name}")
        _guess(panel)
        panel.set(xlabel=label, ylabel="accuracy (%)")
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
    _legend(figure, figure.axes[0].get_legend_handles_labels()[0])
    return figure


def _guess(panel: Axes) -> None:
    panel.axhline(_GUESS, linestyle=":", color="grey", label="random guess of membership")


def _legend(figure: Figure, handles: Sequence[Artist | Container]) -> None:
    """Put one legend below all panels, where it covers nothing."""
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
