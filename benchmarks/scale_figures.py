"""The drawings of the scale study: measured points and the power law through them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from benchmarks.scale_fit import power_law
from selena.experiments.paper.plots import COLORS

Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""Name -> (x, y)."""


def draw(series: Series, *, title: str, x_label: str, y_label: str) -> Figure:
    """Draw each series on logarithmic axes with its fitted law, whose exponent the legend says.

    A series of less than two points has no law.
    """
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    panel = figure.subplots()
    for (name, (x, y)), color, marker in zip(series.items(), COLORS, "osD^vP", strict=False):
        law = power_law(x, y) if len(x) > 1 else None
        label = f"{name}: exponent {law.exponent:.2f}" if law else f"{name}: too little to fit"
        panel.plot(x, y, marker, color=color, label=label)
        if law:
            panel.plot(x, [law(one) for one in x], "--", color=color, linewidth=1)
    panel.set(xscale="log", yscale="log", xlabel=x_label, ylabel=y_label, title=title)
    ticks = sorted({one for x, _ in series.values() for one in x})
    panel.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.minorticks_off()
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8)
    return figure
