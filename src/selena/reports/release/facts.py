"""The contents of a release report, as plain values for the template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot
from typing import get_args

from selena.auditing.figure import EPSILON, Figure, chance
from selena.auditing.report import AuditReport
from selena.auditing.vulnerability import ClassLeakage, class_leakage
from selena.reports import terminal
from selena.reports.release.worst import WorstRecords, members_per_class, worst_records
from selena.reports.table import FEW, attack_words, percent
from selena.types import Family

SHOWN = 20
"""Number of records and of classes in a table."""
SMALL = 10
"""A class with fewer members is called small."""
NOT_TESTED = "not tested"


@dataclass(frozen=True)
class Gap:
    """The gap between the accuracies on training records and on others.

    Attributes:
        train: on training records, in [0, 1].
        test: on other records.
        gap: train - test.
        interval: 95 % interval of the gap (Newcombe 1998, method 10).
    """

    train: float
    test: float
    gap: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"The model is right for {percent(self.train)} % of its training records and for "
            f"{percent(self.test)} % of the others: a gap of {percent(self.gap)} points "
            f"({percent(low)} to {percent(high)})."
        )


@dataclass(frozen=True)
class Pseudonym:
    """A record under a pseudonym, which is meaningless outside of this document.

    Attributes:
        name: pseudonym, such as "record-01".
        row: its row number in the data set.
        label: its class.
        fpr: share of the non-members that look at least as much like members.
        found_by: number of attacks that find it at a false-positive rate of 1 %.
    """

    name: str
    row: int
    label: int
    fpr: float
    found_by: int


@dataclass(frozen=True)
class SmallClass:
    """A class, its size, and what the best attack achieves in it.

    Attributes:
        label: the class.
        members: number of its training records in the audit.
        leakage: figures of the best attack; None where no member or no non-member was scored.
    """

    label: int
    members: int
    leakage: ClassLeakage | None


def overfitting(report: AuditReport) -> Gap:
    """Return the accuracy gap between training records and others."""
    train, test = report.train_accuracy, report.test_accuracy
    gap = train.value - test.value
    below = hypot(train.value - train.interval[0], test.interval[1] - test.value)
    above = hypot(train.interval[1] - train.value, test.value - test.interval[0])
    return Gap(train.value, test.value, gap, (gap - below, gap + above))


def pseudonyms(report: AuditReport) -> tuple[WorstRecords | None, list[Pseudonym]]:
    """Return the worst records over all attacks, and pseudonyms for the first of them."""
    if not report.attacks:
        return None, []
    worst = worst_records(report)
    return worst, [
        Pseudonym(
            f"record-{i + 1:02}",
            int(worst.ids[i]),
            int(worst.labels[i]),
            float(worst.fpr[i]),
            int(worst.found_by[i]),
        )
        for i in range(min(SHOWN, len(worst)))
    ]


def small_classes(report: AuditReport) -> list[SmallClass]:
    """Return the smallest classes, by their number of members."""
    if not report.attacks:
        return []
    name, variant = report.advantage.attack.rsplit("/", 1)
    scores = report.attacks[name].scores
    found = {each.label: each for each in class_leakage(scores, per_class=variant == "per_class")}
    sizes = sorted(members_per_class(report).items(), key=lambda item: (item[1], item[0]))
    return [SmallClass(label, size, found.get(label)) for label, size in sizes[:SHOWN]]


def subjects(report: AuditReport) -> str:
    """Say what is known about persons who have several records."""
    counts = report.counts()
    if "evaluation_records" not in counts:
        return (
            "No subjects were named: each record counts as a person of its own. If persons have "
            "several records, give subject ids and audit again."
        )
    scored = counts["evaluation_members"] + counts["evaluation_non_members"]
    mean = counts["evaluation_records"] / scored
    return (
        f"{scored:,} subjects were scored by the mean of their {counts['evaluation_records']:,} "
        f"records, {mean:.1f} per subject. The report keeps no size of single subjects: a subject "
        "with many records may be more exposed than the list shows."
    )


def figure_lines(report: AuditReport) -> list[tuple[str, str, str, str, str]]:
    """Return title, value, interval, guessing and attack of each headline figure."""
    figures = report.figures()
    return [_line(figures[m]) for m in (*terminal.HEADLINES, EPSILON) if m in figures]


def _line(figure: Figure) -> tuple[str, str, str, str, str]:
    low, high = figure.interval
    attack = attack_words(figure.attack)
    if figure.metric == EPSILON:
        return ("ε (lower bound)", f"{figure.value:.2f}", f"from {low:.2f}", "0", attack)
    return (
        terminal.HEADLINES[figure.metric],
        f"{percent(figure.value)} %{'' if figure.resolved else f' {FEW}'}",
        f"{percent(low)} to {percent(high)} %",
        f"{100 * chance(figure.metric):g} %",
        attack,
    )


def not_tested(report: AuditReport) -> list[str]:
    """Return what this audit did not test."""
    missing = [family for family in get_args(Family) if family not in report.families]
    few = [
        terminal.HEADLINES[metric]
        for metric, figure in report.figures().items()
        if metric in terminal.HEADLINES and not figure.resolved
    ]
    return [
        *(f"{_FAMILIES.get(family, family)} attacks." for family in missing),
        *(["Records planted to be learned by heart (canaries)."] if report.epsilon is None else []),
        *(
            ["Training records stored inside of the model."]
            if report.stored_records is None
            else []
        ),
        *([f"Too few non-members for a narrow interval: {', '.join(few)}."] if few else []),
        "Attribute inference, model inversion, and reconstruction of records.",
        "Extraction of the model, and attacks by whoever took part in training.",
        "Attackers who know more than some of the records, or who will know better attacks.",
    ]


_FAMILIES = {
    "direct": "Direct",
    "label-only": "Label-only",
    "adaptive": "Adaptive",
    "reference-model": "Reference-model (LiRA, RMIA)",
}


def identity(report: AuditReport, versions: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return hashes of what was audited, sizes, and versions."""
    names = {"records": "Records", "predictions": "Answers", "model": "Model"}
    hashes = [
        (f"{title}, SHA-256", report.inputs.get(name, "not known to this report"))
        for name, title in names.items()
        if name in report.inputs or name != "predictions"
    ]
    sizes = [
        (name.replace("_", " ").capitalize(), f"{count:,}")
        for name, count in report.counts().items()
    ]
    audited = report.inputs.get("version", "unknown")
    return [*hashes, *sizes, ("Audited with", f"selena {audited}"), *versions]
