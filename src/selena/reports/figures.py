"""Figures: ROC curves on logarithmic axes, and how scores are distributed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from selena.auditing.figure import figures_of
from selena.files.escaping import figure as plain
from selena.files.writing import atomic_path

# Okabe and Ito's palette, which colour-blind readers can tell apart.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MEMBERS, _NON_MEMBERS = "#D55E00", "#0072B2"
_WIDEST = 40
"""Letters of a title per line above a panel."""


def draw_report(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw ROC curves and score distributions of the best attack per family.

    One line of panels per family: the ROC curves of all defenses, then each defense's scores.
    The lowest seed of each defense is drawn.

    Args:
        rows: results as `selena run` has them.
        path: image to write; its suffix gives the format.
    """
    shown = [
        min((row for row in rows if row["defense"] == name), key=lambda row: row["seed"])
        for name in dict.fromkeys(row["defense"] for row in rows)
    ]
    families = list(dict.fromkeys(family for row in shown for family in row["families"]))
    columns = 1 + len(shown)
    figure = Figure(figsize=(4.2 * columns, 3.8 * len(families)), layout="constrained")
    panels = figure.subplots(len(families), columns, squeeze=False)
    for line, family in zip(panels, families, strict=True):
        curves = [
            (row["defense"], row["families"][family]["roc"])
            for row in shown
            if family in row["families"]
        ]
        draw_roc(line[0], curves, f"ROC, best {family} attack")
        for panel, row in zip(line[1:], shown, strict=True):
            if family in row["families"]:
                _draw_scores(panel, row, family)
            else:
                panel.set_axis_off()
    suffix = path.suffix.lstrip(".")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, format=suffix)


def draw_roc(panel: Axes, curves: Sequence[tuple[str, dict[str, Any]]], title: str) -> None:
    """Draw ROC curves on logarithmic axes.

    Args:
        panel: the panel to draw in.
        curves: label and curve, as `AttackResult.roc` has it.
        title: heading.
    """
    floor = 1.0
    for (label, roc), color in zip(curves, _COLORS * len(curves), strict=False):
        fpr, tpr = np.array(roc["fpr"]), np.array(roc["tpr"])
        floor = min(floor, 1 / roc["non_members"])
        # A step curve: the TPR at a FPR is that of the last corner before it.
        panel.step(
            np.maximum(fpr, 1e-9),
            np.maximum(tpr, 1e-9),
            where="post",
            color=color,
            label=plain(f"{label} (AUC {roc['auc']:.3f})"),
        )
    grid = np.geomspace(floor, 1, 50)
    panel.plot(grid, grid, "--", color="grey", linewidth=1, label="random guess")
    panel.set(
        xscale="log",
        yscale="log",
        xlim=(floor, 1),
        ylim=(floor, 1.05),
        xlabel="false-positive rate",
        ylabel="true-positive rate",
        title=title,
    )
    panel.grid(alpha=0.3)
    panel.legend(loc="lower right", fontsize=8)


def _draw_scores(panel: Axes, row: dict[str, Any], family: str) -> None:
    histogram = row["families"][family]["histogram"]
    accuracy = figures_of(row, family)["balanced_accuracy"].value
    edges = histogram["edges"]
    for side, color, label in (
        ("members", _MEMBERS, "members"),
        ("non_members", _NON_MEMBERS, "non-members"),
    ):
        panel.stairs(
            100 * np.array(histogram[side]),
            edges,
            fill=True,
            alpha=0.5,
            color=color,
            label=label,
        )
    panel.set(
        xlabel=plain(f"{histogram['attack']}: {histogram['axis']}"),
        ylabel="% of the records per bin",
        title=fill(plain(f"{row['defense']}: {100 * accuracy:.1f} % attack accuracy"), _WIDEST),
    )
    panel.legend(fontsize=8)
