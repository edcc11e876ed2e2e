"""What the page says about its figures: sizes, seeds, versions and settings, and their limits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from selena.auditing.figure import figures_of, fpr_of
from selena.reports.runs import ModelRuns

_SIZES = {
    "known_members": "Known members",
    "known_non_members": "Known non-members",
    "evaluation_members": "Scored members",
    "evaluation_non_members": "Scored non-members",
    "evaluation_records": "Scored records, of whom subjects have their mean score",
}


@dataclass(frozen=True)
class Setting:
    """Settings that the page shows as JSON.

    Attributes:
        title: heading.
        text: JSON.
    """

    title: str
    text: str


def about(models: Sequence[ModelRuns], written: date) -> list[tuple[str, str]]:
    """Return the facts at the top of a page: what was audited, its size, and the date."""
    rows = [row for model in models for row in model.rows]
    scored = _distinct(
        f"{row['n']['evaluation_members']:,} members and "
        f"{row['n']['evaluation_non_members']:,} non-members"
        for row in rows
        if row["n"]
    )
    found = [
        ("Data set", ", ".join(_distinct(str(row["dataset"]) for row in rows))),
        ("Scored", " or ".join(scored) or "nothing"),
        ("Page written", written.isoformat()),
    ]
    for name, title in (("records", "Records"), ("predictions", "Answers"), ("model", "Model")):
        hashes = [
            (model.label, row["inputs"][name])
            for model in models
            for row in model.rows
            if name in row.get("inputs", {})
        ]
        if len({digest for _, digest in hashes}) == 1:
            found.append((f"{title}, SHA-256", hashes[0][1]))
        else:
            short = ", ".join(f"{label} {digest[:16]}…" for label, digest in hashes)
            found += [(f"{title}, SHA-256", short)] if short else []
    return found


def facts(models: Sequence[ModelRuns], command: str) -> list[tuple[str, str]]:
    """Return names and values of the facts that results depend on."""
    runs = [run for model in models for run in model.runs]
    found = [("Data", ", ".join(_distinct(_data(run.row, run.manifest) for run in runs)))]
    for name, title in _SIZES.items():
        numbers = _distinct(f"{run.row['n'][name]:,}" for run in runs if name in run.row["n"])
        if numbers:
            found.append((title, " or ".join(numbers)))
    found.append(("Seeds", ", ".join(_distinct(str(run.row["seed"]) for run in runs))))
    codes = _distinct(_code(run.manifest["code"]) for run in runs if run.manifest)
    if codes:
        found.append(("Trained with", " or ".join(codes)))
    mixed = _distinct(
        differing
        for run in runs
        if run.manifest
        for differing in run.manifest.get("numeric", {}).get("mixed", ())
    )
    if mixed:
        found.append(("Machines that round otherwise (--mixed)", " | ".join(mixed)))
    return [*found, ("Command", command)] if command else found


def settings(models: Sequence[ModelRuns], environment: dict[str, Any] | None) -> list[Setting]:
    """Return the settings of runs and attacks, and the environment of the page, as JSON."""
    runs = [
        Setting(f"Run: {model.label}, seed {run.row['seed']}", _json(_described(run.manifest)))
        for model in models
        for run in model.runs
        if run.manifest
    ]
    attacks = [
        Setting(
            f"Attacks on {model.label}",
            _json({name: each["settings"] for name, each in model.first["attacks"].items()}),
        )
        for model in models
        if model.first["attacks"]
    ]
    here = [Setting("Where this page was written", _json(environment))] if environment else []
    return [*runs, *attacks, *here]


def _data(row: dict[str, Any], manifest: dict[str, Any] | None) -> str:
    source = manifest["data"].get("source") if manifest else None
    kind = "synthetic" if row["synthetic"] else ""
    inside = "; ".join(filter(None, [source, kind]))
    return f"{row['dataset']}: {inside}" if inside else str(row["dataset"])


def _code(code: dict[str, Any]) -> str:
    return f"selena {code['version']}, torch {code['torch']}"


def _described(manifest: dict[str, Any]) -> dict[str, Any]:
    return {name: manifest[name] for name in ("settings", "data", "split", "code", "timings")}


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)


def limits(models: Sequence[ModelRuns]) -> list[str]:
    """Return the limits of these results, each in one or two sentences."""
    return [*_about_the_data(models), *_general(models)]


def _about_the_data(models: Sequence[ModelRuns]) -> list[str]:
    rows = [row for model in models for row in model.rows]
    said = []
    if any(row["synthetic"] for row in rows):
        said.append(
            "The data are synthetic: no real person stands behind a record, and results on "
            "real data may differ."
        )
    if any(row["selected_on_evaluation"] for row in rows):
        said.append(
            "Weights were selected on evaluation data (the paper's way): the accuracies are "
            "biased upwards."
        )
    return said


def _general(models: Sequence[ModelRuns]) -> list[str]:
    said = [
        "Each figure is of the strongest of the attacks that were run: a stronger attack, or an "
        "attacker who knows more, may find more.",
        "Accuracies, AUC and TPR are averages over records. A few records may be far more exposed "
        "than the average, and nothing here bounds the risk of a single one.",
        *_canaries(models),
        "This is a measurement, not a guarantee such as differential privacy gives.",
        "It tests whether a record was used for training, and nothing else that a model may reveal "
        "about a person.",
        "The attacker knows of some records whether they were used for training. An attacker who "
        "lacks this finds less.",
    ]
    alone = [model.label for model in models if len(model.rows) == 1]
    if alone:
        said.append(
            f"The figures of {', '.join(alone)} come from one trained model: their intervals cover "
            "the choice of records, not what another training would give."
        )
    if any(len(model.rows) > 1 for model in models):
        said.append(
            "Each seed trained one target model on one split. ± is the standard deviation over "
            "seeds; drawings show the first seed."
        )
    return [*said, *_comparisons(models), *_too_few(models)]


def _canaries(models: Sequence[ModelRuns]) -> list[str]:
    rows = [row for model in models for row in model.rows]
    if any("canaries" in attack for row in rows for attack in row["attacks"].values()):
        return [
            "Canaries show how exposed records of their kind are, not the most exposed ones there "
            "are; their ε is a lower bound."
        ]
    return ["No records were planted that a model must learn by heart (canaries)."]


def _comparisons(models: Sequence[ModelRuns]) -> list[str]:
    attacks = sum(len(model.first["attacks"]) for model in models)
    if attacks < 2:
        return []
    return [
        f"Each interval has 95 % confidence on its own: of {attacks} attacks in the table, "
        f"about {max(1, round(attacks / 20))} may miss by chance. The verdict allows for that."
    ]


def _too_few(models: Sequence[ModelRuns]) -> list[str]:
    """Name the lowest FPRs for which too few non-members were scored."""
    few = {
        (fpr, figure.needed_non_members)
        for model in models
        for row in model.rows
        for metric, figure in figures_of(row).items()
        if not figure.resolved and (fpr := fpr_of(metric)) is not None
    }
    return [
        f"At a false-positive rate of {100 * fpr:g} % intervals are wide: {needed:,} non-members "
        "would make them narrow."
        for fpr, needed in sorted(few, reverse=True)
    ]
