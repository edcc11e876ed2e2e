"""Converts the JSON of audits by earlier versions to the current schema.

Version 1 named one best attack per family, by balanced accuracy, and reported that attack's AUC and
TPR. So a report from version 1 has no strongest attack per figure, which `known_value: None` marks.
Its intervals are computed anew: the TPR's from the corners of the ROC curve (at most 500 were
kept), the AUC's from the variance of the old interval. For canaries, and for attacks other than the
best, version 1 kept no curve, so their TPR has the interval [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np

from selena.auditing.figure import EPSILON, Figure, tpr_metric
from selena.auditing.report import SCHEMA as CURRENT
from selena.auditing.verdict import LIMITS, VERDICT_CONFIDENCE, judge_figures
from selena.errors import StoreError
from selena.metrics.intervals import (
    ONE_SIGMA,
    Interval,
    interval_of_auc,
    normal_quantile,
    wilson,
)
from selena.metrics.low_fpr import needed_non_members, tpr_at_fpr, tpr_band
from selena.metrics.roc import Roc
from selena.metrics.summary import LOW_FPRS, Summary

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
    families = {
        family: _family(best, family, audit["attacks"]) for family, best in audit["best"].items()
    }
    rest = {name: value for name, value in audit.items() if name not in ("best", "best_of_all")}
    curves = {best["attack"].rsplit("/", 1)[0]: _curve(best) for best in audit["best"].values()}
    rest["attacks"] = {
        name: _attack(attack, curves.get(name)) for name, attack in audit["attacks"].items()
    }
    if not families:
        nothing = {"level": "not attacked", "reason": "No attack was run.", "figure": ""}
        return {**rest, **_HEAD, "verdict": nothing, "figures": {}, "families": {}}
    strongest = _strongest(audit)
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


def _strongest(audit: Mapping[str, Any]) -> str:
    """Return the family with the best attack on known records, as version 1 chose it."""
    if "best_of_all" in audit:
        return str(audit["best_of_all"]["family"])
    known = audit["n"]["known_members"] + audit["n"]["known_non_members"]

    def lower(family: str) -> float:
        best = audit["best"][family]
        records = best.get("known_records", known)
        return wilson(best["known_accuracy"], records, confidence=ONE_SIGMA)[0]

    families: list[str] = list(audit["best"])
    return max(families, key=lower)


def _attack(attack: Mapping[str, Any], curve: Roc | None) -> dict[str, Any]:
    found = dict(attack)
    for name in ("global", "per_class"):
        found[name] = _with_intervals(attack[name], curve)
    if "canaries" in attack:
        found["canaries"] = {"copies": 0, **_with_intervals(attack["canaries"], None)}
    return found


def _with_intervals(figures: Mapping[str, Any], curve: Roc | None) -> dict[str, Any]:
    """Return figures with the interval of the AUC, and of the TPRs if there is a curve."""
    points = {}
    for fpr, old in figures["tpr_at_fpr"].items():
        needed = needed_non_members(float(fpr))
        points[fpr] = {
            **old,
            "interval": [0.0, 1.0],
            "realized_fpr_interval": [0.0, 1.0],
            "resolved": figures["non_members"] >= needed,
            "needed_non_members": needed,
        }
        if curve is not None:
            points[fpr] = tpr_at_fpr(curve, float(fpr)).to_json()
    interval = list(_auc_interval(figures, 0.95))
    return {**figures, "auc_interval": interval, "tpr_at_fpr": points}


def _family(best: Mapping[str, Any], family: str, attacks: Mapping[str, Any]) -> dict[str, Any]:
    curve, name = _curve(best), best["attack"].rsplit("/", 1)[0]
    figures = _figures(best, family)
    canaries = attacks.get(name, {}).get("canaries")
    if canaries is not None:
        bound = canaries["epsilon_lower_bound"]["epsilon"]
        planted = {side: canaries[side] for side in ("members", "non_members")}
        figures.append(
            replace(figures[-1], metric=EPSILON, value=bound, interval=(bound, inf), **planted)
        )
    strongest = best.get("strongest_on_evaluation", {})
    return {
        "figures": {figure.metric: figure.to_json() for figure in figures},
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
    """Return the interval computed from the variance of the old one."""
    auc, (low, high) = best["auc"], best["auc_interval"]
    half = max(auc - low, high - auc)  # one end may have been clipped to 0 or 1
    variance = (half / normal_quantile(0.95)) ** 2
    fewest = min(best["members"], best["non_members"])
    return interval_of_auc(auc, variance, fewest, confidence=confidence)
