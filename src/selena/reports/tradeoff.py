"""Draws the trials of a search: accuracy against leakage, one point per trial."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from selena.files.escaping import figure as plain
from selena.files.writing import atomic_path

Point = tuple[float, float]
"""Accuracy and leakage, both as shares."""


def draw_tradeoff(
    points: Sequence[Point],
    front: Sequence[Point],
    path: Path,
    *,
    metric: str,
    chosen: Point | None = None,
    limit: float | None = None,
) -> None:
    """Draw accuracy on validation records against leakage on known records.

    Args:
        points: one point per trial.
        front: points that no other beats in both, sorted by leakage, the lowest first.
        path: image to write; its suffix gives the format.
        metric: name of the measure of leakage.
        chosen: the point that gets a ring.
        limit: limit of the leakage, drawn as a dashed line.
    """
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    panel = figure.subplots()
    panel.plot(*_columns(points), "o", color="#999999", label="trial")
    panel.plot(*_columns(front), "o-", color="#0072B2", label="no trial is better in both")
    if chosen is not None:
        panel.plot(*_columns([chosen]), "o", color="#D55E00", fillstyle="none", markersize=14,
                   markeredgewidth=2, label="chosen")  # fmt: skip
    if limit is not None:
        panel.axhline(100 * limit, color="black", linestyle="--", linewidth=1, label="limit")
    panel.set(
        xlabel="accuracy on validation records (%)",
        ylabel=plain(f"{metric} on known records (%)"),
    )
    panel.grid(alpha=0.3)
    panel.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix("."), dpi=150)


def _columns(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [100 * x for x, _ in points], [100 * y for _, y in points]
