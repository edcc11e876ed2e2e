"""The tables of results/README.md, from the JSON of the results.

python -m benchmarks.overview
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from benchmarks.page import renewed
from selena.auditing.figure import Figure, figures_of
from selena.data.audit_pool import KINDS
from selena.files.writing import write_text

RESULTS = Path(__file__).resolve().parents[1] / "results"
MARK = "<!-- {}: python -m benchmarks.overview -->"
END = "<!-- / -->"
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
    "location30-split-ai/report": "Location30, no distillation",
    "location30-canaries/report": "Location30, mislabelled canaries",
    "purchase100-synthetic-table2/table2": "Purchase100, synthetic",
    "purchase100-synthetic-small/report": "Purchase100, synthetic, 2,000 members",
    "cifar10-subset/report": "CIFAR-10, 2,000 images",
    "cifar100-subset/report": "CIFAR-100, 1,000 images",
    "gpu/cifar10/report": "CIFAR-10, 20,000 images",
}
"""What each result is called, by its file."""


WORST = {
    "location30-worst-case/worst-case": "Location30",
    "purchase100-synthetic-worst-case/worst-case": "Purchase100, synthetic",
}
"""What each worst case is called, by its file."""
_ATTACKS = ("lira", "rmia")

BUDGETS = ("location30-budgets", "purchase100-synthetic-budgets", "cifar-10-subset-budgets")
"""Results of `benchmarks.budgets`; a table has the name of its file."""
_WITH_MODELS = {
    "confidence": "confidence, 1 query",
    "lira": "LiRA",
    "rmia": "RMIA",
    "bavaria": "BaVarIA",
    "empirical_bayes": "empirical Bayes",
    "lira_offline": "LiRA, offline",
    "rmia_offline": "RMIA, offline",
    "bavaria_offline": "BaVarIA, offline",
    "base_offline": "BASE, offline",
}

MACHINES = {
    "benchmarks": "AVX-512 with bf16",
    "benchmarks-amx": "AMX, beside other work",
    "benchmarks-float32": "AVX2, float32",
}
"""Which machine a benchmark's JSON is of."""


def fill(page: str) -> str:
    """Return the page with its tables written anew.

    Raises:
        ValueError: the page lacks the marks of a table.
    """
    tables: dict[str, Callable[[], list[Sequence[str]]]] = {
        "results": results,
        "worst": worst,
        "variants": variants,
        "coverage": coverage,
        "speed": speed,
        **{name: partial(budgets, name) for name in BUDGETS},
    }
    for name, make in tables.items():
        table = "\n".join(f"| {' | '.join(line)} |" for line in make())
        page = renewed(page, MARK.format(name), table, END)
    return page


def worst() -> list[Sequence[str]]:
    """Return what LiRA and RMIA find of each kind of record, one line per defense."""
    titles = ("Data", "Defense", "Test accuracy", *(kind.capitalize() for kind in KINDS))
    lines: list[Sequence[str]] = [[*titles, "JSON"], ["---"] * (len(titles) + 1)]
    for name, data in WORST.items():
        by_defense: dict[str, list[dict[str, Any]]] = {}
        for row in _read(name)["rows"]:
            by_defense.setdefault(row["defense"], []).append(row)
        for defense, rows in by_defense.items():
            missed = "" if all(row["meets_target"] for row in rows) else " ↓"
            accuracy = _mean([100 * row["test_accuracy"] for row in rows]) + missed
            cells = [_both(rows, kind) for kind in KINDS]
            link = f"[worst-case]({name}.json)"
            lines.append([data, defense.replace("_", " "), accuracy, *cells, link])
    return lines


def variants() -> list[Sequence[str]]:
    """Return what SELENA with another second stage, or another L, costs and gives away."""
    shown = {
        "Mislabelled, AUC": ("mislabelled", "auc"),
        "TPR at 5 % FPR": ("mislabelled", "tpr"),
        "Near copy, AUC": ("near copy", "auc"),
        "Ordinary, AUC": ("ordinary", "auc"),
    }
    lines: list[Sequence[str]] = [["Variant", "Test accuracy", *shown], ["---"] * (2 + len(shown))]
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in _read("location30-worst-case/variants")["rows"]:
        by_name.setdefault(row["variant"], []).append(row)
    for name, rows in by_name.items():
        of_lira = [[row["lira"][kind][key] for row in rows] for kind, key in shown.values()]
        values = [[row["test_accuracy"] for row in rows], *of_lira]
        lines.append([name, *(", ".join(f"{100 * v:.1f}" for v in each) for each in values)])
    return lines


def _both(rows: Sequence[Mapping[str, Any]], kind: str) -> str:
    """Return the TPR by LiRA and by RMIA."""
    attacks = [[100 * row["attacks"][name][kind]["tpr"] for row in rows] for name in _ATTACKS]
    return " / ".join(_mean(values) for values in attacks)


def results() -> list[Sequence[str]]:
    """Return the table of results, one line per result and defense."""
    lines: list[Sequence[str]] = [TITLES, ["---"] * len(TITLES)]
    for name, data in SHOWN.items():
        result = _read(name)
        link = f"[{name.split('/')[-1]}]({name}.json)" + " ‡" * ("converted_from" in result)
        for defense in dict.fromkeys(row["defense"] for row in result["rows"]):
            lines.append([data, *_cells(result, defense), link])
    return lines


def budgets(name: str) -> list[Sequence[str]]:
    """Return what attacks find with any number of reference models: mean and spread of targets."""
    told = _read(name)["defenses"]
    of_defense = {each: told[each] for each in sorted(told, key=lambda each: each != "undefended")}
    titles = [f"{defense}, at {fpr}" for defense in of_defense for fpr in ("1 %", "0.1 %")]
    lines: list[Sequence[str]] = [["Attack", "Reference models", *titles]]
    lines.append(["---"] * len(lines[0]))
    found = [
        {(row["attack"], row["runs"]): row for row in each["rows"]} for each in of_defense.values()
    ]
    for runs in dict.fromkeys(runs for _, runs in found[0]):
        for attack, shown in _WITH_MODELS.items():
            if (attack, runs) in found[0]:
                rows = [each[attack, runs] for each in found]
                cells = [_spread(row[f"tpr@{fpr}"]) for row in rows for fpr in ("0.01", "0.001")]
                lines.append([shown, str(runs), *cells])
    return lines


def _spread(figure: Mapping[str, float]) -> str:
    return f"{100 * figure['mean']:.1f} ± {100 * figure['sd']:.1f}"


def coverage() -> list[Sequence[str]]:
    """Return for each kind of interval the setting that it covers least often."""
    lines: list[Sequence[str]] = [("Intervals of", "Covered at least", "Lowest at"), ["---"] * 3]
    for figure, (share, setting) in _read("coverage")["lowest"].items():
        lines.append([figure, f"{100 * share:.1f}", setting])
    return lines


def speed() -> list[Sequence[str]]:
    """Return the table of benchmarks: how many times faster, and how much of the product rate."""
    machines = {f"[{title}]({name}.json)": _read(name) for name, title in MACHINES.items()}
    lines: list[Sequence[str]] = [["Stage", *machines], ["---"] * (1 + len(machines))]
    for stage in sorted({stage for found in machines.values() for stage in found["stages"]}):
        of_stage = (found["stages"].get(stage, {}) for found in machines.values())
        lines.append([stage.replace("_", " "), *map(_ratio, of_stage)])
    return lines


def _read(name: str) -> dict[str, Any]:
    return dict(json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")))


def _ratio(stage: Mapping[str, Any]) -> str:
    if not stage:
        return "–"
    turns = stage.get("ratios")
    spread = f" ({min(turns):.2f} to {max(turns):.2f})" if turns else ""
    used = f", {stage['utilisation']:.0%}" if "utilisation" in stage else ""
    return f"{stage['ratio']:.{1 if stage['ratio'] > 5 else 2}f} ×{spread}{used}"


def _cells(result: Mapping[str, Any], defense: str) -> list[str]:
    rows = [row for row in result["rows"] if row["defense"] == defense]
    found = [figures_of(row) for row in rows]
    strongest = [figures["balanced_accuracy"] for figures in found]
    epsilon = [figures["epsilon"] for figures in found if "epsilon" in figures]
    folders = [name for name, told in result["settings"].items() if told["defense"] == defense]
    minutes = median(result["timings"][name]["train_seconds"] for name in folders) / 60
    return [
        str(len(rows)),
        defense.replace("_", " "),
        _mean([100 * row["test_accuracy"] for row in rows]),
        f"{_mean([100 * figure.value for figure in strongest])}, {_attack(strongest)}",
        "–" if "converted_from" in result else _low_fpr([f["tpr@fpr=0.01"] for f in found]),
        f"{_mean([f.value for f in epsilon], 2)}, {_attack(epsilon)}" if epsilon else "–",
        f"{minutes:.1f}",
    ]


def _low_fpr(figures: Sequence[Figure]) -> str:
    """Return the mean TPR with its interval and attack; † if some is not resolved."""
    low, high = (100 * fmean(figure.interval[end] for figure in figures) for end in (0, 1))
    mark = "" if all(figure.resolved for figure in figures) else " †"
    mean = 100 * fmean(figure.value for figure in figures)
    return f"{mean:.1f}{mark} ({low:.1f} to {high:.1f}), {_attack(figures)}"


def _mean(values: Sequence[float], digits: int = 1) -> str:
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{spread}"


def _attack(figures: Sequence[Figure]) -> str:
    """Return the attack that is strongest for most seeds."""
    [(name, _)] = Counter(figure.name for figure in figures).most_common(1)
    return name.replace("_", " ")


if __name__ == "__main__":
    readme = RESULTS / "README.md"
    write_text(readme, fill(readme.read_text(encoding="utf-8")))
