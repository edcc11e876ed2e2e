"""Audits that earlier versions wrote as JSON, in today's form.

Version 1 named one best attack per family, by balanced accuracy, and quoted that attack's AUC and
TPR. So a report read from version 1 has no strongest attack per figure, and each figure says so by
`known_value: None`. Its intervals are computed anew: the TPR's from the corners of the ROC curve
(at most 500 are kept), the AUC's from the variance behind the old interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from selena.auditing.figure import Figure, tpr_metric
from selena.auditing.verdict import LIMITS, VERDICT_CONFIDENCE, judge_figures
from selena.errors import StoreError
from selena.metrics.intervals import Interval, interval_of_auc, normal_quantile
from selena.metrics.low_fpr import tpr_at_fpr, tpr_band
from selena.metrics.roc import Roc
from selena.metrics.summary import LOW_FPRS, Summary

CURRENT = "selena-audit/2"
_FIRST = "selena-audit/1"


def current_audit(audit: Mapping[str, Any]) -> dict[str, Any]:
    """Return an audit of schema `selena-audit/1` or `/2` as one of `selena-audit/2`.

    Raises:
        StoreError: another schema, or figures that version 1 does not have.
    """
    if audit.get("schema") == CURRENT:
        return dict(audit)
    if audit.get("schema") != _FIRST:
        raise StoreError(
            f"The audit has schema {audit.get('schema')!r}; this version reads {_FIRST!r} and "
            f"{CURRENT!r}. Audit again."
        )
    try:
        return _upgraded(audit)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise StoreError(f"The audit is no {_FIRST!r}: {error!r}. Audit again.") from error


def _upgraded(audit: Mapping[str, Any]) -> dict[str, Any]:
    families = {family: _family(best, family) for family, best in audit["best"].items()}
    rest = {name: value for name, value in audit.items() if name not in ("best", "best_of_all")}
    if not families:
        nothing = {"level": "not attacked", "reason": "No attack was run.", "figure": ""}
        return {**rest, **_HEAD, "verdict": nothing, "figures": {}, "families": {}}
    strongest = max(families, key=lambda family: audit["best"][family]["known_accuracy"])
    figures = _figures(audit["best"][strongest], strongest, simultaneous=True)
    verdict = judge_figures([figure for figure in figures if figure.metric in LIMITS])
    return {
        **rest,
        **_HEAD,
        "verdict": verdict.to_json(),
        "figures": families[strongest]["figures"],
        "families": families,
    }


_HEAD: dict[str, Any] = {"schema": CURRENT, "inputs": {}}


def _family(best: Mapping[str, Any], family: str) -> dict[str, Any]:
    curve, name = _curve(best), best["attack"].rsplit("/", 1)[0]
    strongest = best.get("strongest_on_evaluation", {})
    return {
        "figures": {f.metric: f.to_json() for f in _figures(best, family)},
        "roc": {
            **best["roc"],
            "attack": name,
            "auc": best["auc"],
            "members": best["members"],
            "non_members": best["non_members"],
            "band": tpr_band(curve),
        },
        "histogram": {"axis": "score", **best["histogram"], "attack": name},
        "strongest_on_evaluation": {
            "balanced_accuracy_interval": best["balanced_accuracy_interval"],
            **strongest,
        },
    }


def _figures(best: Mapping[str, Any], family: str, *, simultaneous: bool = False) -> list[Figure]:
    name = best["attack"].rsplit("/", 1)[0]
    confidence = VERDICT_CONFIDENCE if simultaneous else 0.95
    common: dict[str, Any] = {
        "family": family,
        "access": best["access"],
        "queries_per_record": best["queries_per_record"],
        "members": best["members"],
        "non_members": best["non_members"],
    }
    low, high = _summary(best).advantage_at(confidence)
    curve = _curve(best)
    points = {fpr: tpr_at_fpr(curve, fpr, confidence=confidence) for fpr in sorted(LOW_FPRS)}
    return [
        *(
            Figure(
                tpr_metric(fpr),
                point.tpr,
                point.interval,
                name,
                **common,
                resolved=point.resolved,
                needed_non_members=point.needed_non_members,
            )
            for fpr, point in points.items()
        ),
        Figure(
            "balanced_accuracy",
            best["balanced_accuracy"],
            ((1 + low) / 2, (1 + high) / 2),
            best["attack"],
            **common,
        ),
        Figure("advantage", best["advantage"], (low, high), best["attack"], **common),
        Figure("auc", best["auc"], _auc_interval(best, confidence), name, **common),
    ]


def _curve(best: Mapping[str, Any]) -> Roc:
    tpr, fpr = (np.array(best["roc"][name], dtype=float) for name in ("tpr", "fpr"))
    return Roc(
        -np.arange(len(tpr) - 1, dtype=float),
        np.round(tpr * best["members"]).astype(np.int64),
        np.round(fpr * best["non_members"]).astype(np.int64),
    )


def _summary(best: Mapping[str, Any]) -> Summary:
    return Summary(
        best["members"], best["non_members"], best["tpr"], best["fpr"], (0, 0), 0.0, (0, 0), {}
    )


def _auc_interval(best: Mapping[str, Any], confidence: float) -> Interval:
    """Return the interval by the variance that the old one was made of."""
    auc, (low, high) = best["auc"], best["auc_interval"]
    half = max(auc - low, high - auc)  # one end may have been cut at 0 or 1
    variance = (half / normal_quantile(0.95)) ** 2
    fewest = min(best["members"], best["non_members"])
    return interval_of_auc(auc, variance, fewest, confidence=confidence)
