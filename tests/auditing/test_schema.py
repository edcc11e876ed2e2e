"""Audits of the first schema are read as those of the current one."""

from __future__ import annotations

from typing import Any

import pytest

from selena.auditing.report import SCHEMA
from selena.auditing.schema import current_audit
from selena.errors import StoreError


def first_audit() -> dict[str, Any]:
    """An audit as version 1 wrote it: 800 of 1,000 members found, 100 of 1,000 others accused."""
    figures = {
        "members": 1000,
        "non_members": 1000,
        "auc": 0.85,
        "auc_interval": [0.83, 0.87],
        "tpr_at_fpr": {"0.1": {"tpr": 0.8, "realized_fpr": 0.1}},
    }
    best = {
        **figures,
        "attack": "confidence/global",
        "access": "predictions",
        "queries_per_record": 1,
        "tpr": 0.8,
        "fpr": 0.1,
        "advantage": 0.7,
        "balanced_accuracy": 0.85,
        "balanced_accuracy_interval": [0.83, 0.87],
        "known_accuracy": 0.85,
        "roc": {"fpr": [0.0, 0.1, 1.0], "tpr": [0.0, 0.8, 1.0]},
        "histogram": {"edges": [0.0, 1.0], "members": [1], "non_members": [1]},
    }
    return {
        "schema": "selena-audit/1",
        "n": {"known_members": 100, "known_non_members": 100},
        "attacks": {"confidence": {"global": figures, "per_class": figures}},
        "best": {"direct": best},
    }


def test_first_schema_is_read() -> None:
    read = current_audit(first_audit())
    assert read["schema"] == SCHEMA
    assert read["verdict"]["level"] == "severe"
    found = read["families"]["direct"]["figures"]["tpr@fpr=0.1"]
    assert found["value"] == 0.8
    low, high = found["interval"]
    assert low < 0.8 < high
    # That the threshold was chosen on these non-members makes it wider than 0.8 +- 0.025.
    assert high - low > 0.06
    assert found["known_value"] is None  # version 1 chose by balanced accuracy alone


def test_current_schema_stays_as_it_is() -> None:
    read = current_audit(first_audit())
    assert current_audit(read) == read


def test_other_schemas_and_gaps_are_named() -> None:
    with pytest.raises(StoreError, match="schema 'selena-audit/9'; this version reads"):
        current_audit({"schema": "selena-audit/9"})
    damaged = first_audit()
    del damaged["best"]["direct"]["roc"]
    with pytest.raises(StoreError, match=r"no 'selena-audit/1': KeyError\('roc'\)"):
        current_audit(damaged)
