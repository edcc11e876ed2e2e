"""Requirements of two documents on a model, and what an audit finds about each.

Paragraph numbers are given only where their wording was checked; the opinion was read in quotations
by others. A finding is evidence for an assessment, never a statement that a model complies.

Sources: European Data Protection Board, Opinion 28/2024 on certain data protection aspects related
to the processing of personal data in the context of AI models, 17 December 2024; OWASP, Artificial
Intelligence Security Verification Standard (AISVS) 1.0, chapter C11, text of 2026.
"""

from __future__ import annotations

from dataclasses import dataclass

from selena.auditing.figure import tpr_metric
from selena.auditing.report import AuditReport
from selena.reports.table import percent

EDPB = "EDPB, Opinion 28/2024"
AISVS = "OWASP AISVS 1.0"


@dataclass(frozen=True)
class Requirement:
    """One requirement of a document.

    Attributes:
        source: the document and the place in it.
        asks: the requirement, in our words.
        finding: what this audit says about it.
    """

    source: str
    asks: str
    finding: str


def requirements(report: AuditReport, stored: str) -> list[Requirement]:
    """Return the requirements and the findings.

    Args:
        report: the audit.
        stored: result of the check of stored records, in words.
    """
    attacked = ", ".join(report.families) or "no family of attacks"
    missing = "Not tested"
    return [
        Requirement(
            f"{EDPB}, paragraph 34",
            "Whether a model trained on personal data is anonymous is assessed case by case.",
            f"This report is evidence for that assessment. Its verdict: {report.verdict.level}.",
        ),
        Requirement(
            f"{EDPB}, paragraph 43",
            "For every person whose data were used, it must be insignificantly likely that "
            "personal data are extracted from the model or obtained by queries.",
            f"{_found(report)} The worst single records are listed above; an average does not "
            "show that the likelihood is insignificant for each person.",
        ),
        Requirement(
            f"{EDPB}, paragraph 55",
            "Structured tests against attribute and membership inference, exfiltration, "
            "regurgitation of training data, model inversion and reconstruction.",
            f"Membership inference: tested ({attacked}). Stored records: {stored}. Attribute "
            "inference, regurgitation, inversion and reconstruction: not tested by this report.",
        ),
        Requirement(
            EDPB,
            "Documentation of the measures and of the remaining likelihood of identification.",
            "This document holds figures with intervals, the attacks, hashes of model and data, "
            "and versions. What was done to the data before training is not part of it.",
        ),
        Requirement(
            f"{AISVS}, 11.3.1",
            "Outputs that are calibrated or perturbed, so that the model is not overconfident.",
            f"{missing} as such. The attacks saw the outputs as they are released.",
        ),
        Requirement(
            f"{AISVS}, 11.3.2",
            "Differentially private training with a documented privacy budget, for sensitive data.",
            _epsilon(report),
        ),
        Requirement(
            f"{AISVS}, 11.3.3",
            "Simulated membership inference whose accuracy is not meaningfully above guessing, on "
            "data that were held out.",
            _accuracy(report),
        ),
        Requirement(
            f"{AISVS}, C11.4 and C11.5",
            "Limits against model inversion and model extraction.",
            f"{missing}: they concern the service around the model.",
        ),
    ]


def _found(report: AuditReport) -> str:
    if not report.attacks:
        return "Not tested."
    figure = report.figure(tpr_metric(0.01))
    low, high = figure.interval
    return (
        f"At one wrong accusation per 100 non-members, membership of {percent(figure.value)} % of "
        f"the members is found ({percent(low)} to {percent(high)} %)."
    )


def _accuracy(report: AuditReport) -> str:
    if not report.attacks:
        return "Not tested."
    figure = report.balanced_accuracy
    low, high = figure.interval
    above = "above guessing" if figure.above_chance else "not shown to be above guessing"
    return (
        f"The most accurate attack is right in {percent(figure.value)} % of the cases "
        f"({percent(low)} to {percent(high)} %), {above}."
    )


def _epsilon(report: AuditReport) -> str:
    if report.epsilon is None:
        return "Not tested: no records were planted (canaries), and no budget is known here."
    bound = report.epsilon.interval[0]
    return f"Canaries prove that ε is at least {bound:.2f}; a stated budget must be above it."
