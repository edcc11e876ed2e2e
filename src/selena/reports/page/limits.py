"""The limits of a report: what its figures do not show."""

from __future__ import annotations

from collections.abc import Sequence

from selena.auditing.figure import figures_of, fpr_of
from selena.reports.page.model_runs import ModelRuns


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
