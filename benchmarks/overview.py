"""The first table of results/README.md, from the JSON of the results.

python -m benchmarks.overview
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from selena.auditing.figure import Figure, figures_of
from selena.files import write_text

RESULTS = Path(__file__).resolve().parents[1] / "results"
START, END = "<!-- table: python -m benchmarks.overview -->\n", "<!-- /table -->\n"
TITLES = (
    "Data",
    "Seeds",
    "Defense",
    "Test accuracy",
    "Strongest attack",
    "TPR at 1 % FPR",
    "ε at least",
    "Training, min",
    "JSON",
)
SHOWN = {
    "location30-table2/table2": "Location30",
    "location30/report": "Location30, direct attacks alone",
    "location30-reference-models/report": "Location30, LiRA and RMIA",
    "location30-split-ai/report": "Location30, no distillation",
    "location30-canaries/report": "Location30, mislabelled canaries",
    "location30-canaries-twins/report": "Location30, canaries with near-duplicates",
    "location30-canaries-grouped-twins/report": "Location30, near-duplicates declared",
    "purchase100-synthetic-table2/table2": "Purchase100, synthetic",
    "purchase100-synthetic-small/report": "Purchase100, synthetic, 2,000 members",
    "cifar10-subset/report": "CIFAR-10, 2,000 images",
    "gpu/cifar10/report": "CIFAR-10, 20,000 images",
}
"""What each result is called, by its file."""


def fill(page: str) -> str:
    """Return the page with the table between its two marks written anew.

    Raises:
        ValueError: the page lacks the marks.
    """
    before, _, rest = page.partition(START)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"the page has no {START.strip()} before {END.strip()}")
    return f"{before}{START}{table()}{END}{after}"


def table() -> str:
    """Return the table, one line per result and defense."""
    lines = [TITLES, ["---"] * len(TITLES)]
    for name, data in SHOWN.items():
        result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        for defense in dict.fromkeys(row["defense"] for row in result["rows"]):
            lines.append([data, *_cells(result, defense), f"[{name.split('/')[-1]}]({name}.json)"])
            lines[-1][-1] += " ‡" * ("converted_from" in result)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cells(result: Mapping[str, Any], defense: str) -> list[str]:
    rows = [row for row in result["rows"] if row["defense"] == defense]
    strongest = [figures_of(row)["balanced_accuracy"] for row in rows]
    select = _highest if "converted_from" in result else figures_of
    found = [select(row) for row in rows]
    low_fpr = [figures["tpr@fpr=0.01"] for figures in found]
    ends = [100 * fmean(figure.interval[end] for figure in low_fpr) for end in (0, 1)]
    mark = "" if all(figure.resolved for figure in low_fpr) else " †"
    epsilon = [figures["epsilon"] for figures in found if "epsilon" in figures]
    folders = [name for name, told in result["settings"].items() if told["defense"] == defense]
    minutes = median(result["timings"][name]["train_seconds"] for name in folders) / 60
    return [
        str(len(rows)),
        defense.replace("_", " "),
        _mean([100 * row["test_accuracy"] for row in rows]),
        f"{_mean([100 * figure.value for figure in strongest])}, {_attack(strongest)}",
        f"{100 * fmean(figure.value for figure in low_fpr):.1f}{mark} "
        f"({ends[0]:.1f} to {ends[1]:.1f}), {_attack(low_fpr)}",
        f"{_mean([f.value for f in epsilon], 2)}, {_attack(epsilon)}" if epsilon else "–",
        f"{minutes:.1f}",
    ]


def _mean(values: Sequence[float], digits: int = 1) -> str:
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{spread}"


def _highest(row: Mapping[str, Any]) -> dict[str, Figure]:
    """Return the highest figures over the families, on the records that are scored.

    Converted results have one attack per family, chosen by balanced accuracy: where that one says
    nothing at a low FPR, another family's may.
    """
    families = [figures_of(row, family) for family in row["families"]]
    return {
        metric: max((figures[metric] for figures in families), key=lambda figure: figure.value)
        for metric in families[0]
    }


def _attack(figures: Sequence[Figure]) -> str:
    """Return the attack that is strongest for most seeds."""
    [(name, _)] = Counter(figure.name for figure in figures).most_common(1)
    return name.replace("_", " ")


if __name__ == "__main__":
    readme = RESULTS / "README.md"
    write_text(readme, fill(readme.read_text(encoding="utf-8")))
