"""A section of a model card, as YAML."""

from __future__ import annotations

import json
from typing import Any

from selena.auditing.report import AuditReport
from selena.files.escaping import printable
from selena.reports.release.facts import NOT_TESTED, not_tested, overfitting


def model_card_section(report: AuditReport) -> str:
    """Return what a model card should say about membership privacy, as YAML.

    The only top-level key is `membership_privacy`. Shares are in [0, 1]; intervals have 95 %
    confidence.

    Args:
        report: an audit of the model.
    """
    gap, found = overfitting(report), report.stored_records
    stored: Any = NOT_TESTED if found is None else {"passes": found.passes}
    return _yaml(
        {
            "membership_privacy": {
                "verdict": report.verdict.level,
                "reason": report.verdict.reason,
                "figures": {
                    metric: {
                        "value": figure.value,
                        "interval": list(figure.interval),
                        "attack": figure.attack,
                        "resolved": figure.resolved,
                    }
                    for metric, figure in report.figures().items()
                },
                "attacks": {
                    name: {"family": each.family, "access": each.access}
                    for name, each in report.attacks.items()
                },
                "accuracy": {
                    "train": gap.train,
                    "test": gap.test,
                    "gap": gap.gap,
                    "gap_interval": list(gap.interval),
                },
                "records": report.counts(),
                "stored_records": stored,
                "not_tested": not_tested(report),
                "inputs": dict(report.inputs),
            }
        }
    )


def _yaml(value: dict[str, Any], indent: str = "") -> str:
    """Return nested dictionaries as YAML; every other value is JSON, which YAML 1.2 contains."""
    lines = []
    for key, inner in value.items():
        name = json.dumps(printable(key), ensure_ascii=True)
        if isinstance(inner, dict) and inner:
            lines.append(f"{indent}{name}:\n{_yaml(inner, indent + '  ')}")
        else:
            shown = json.dumps(inner, ensure_ascii=True, allow_nan=False)
            lines.append(f"{indent}{name}: {shown}\n")
    return "".join(lines)
