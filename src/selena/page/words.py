"""The summary in plain words, for somebody who is no expert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from selena.auditing.table import on_canaries, percent
from selena.page.groups import Group, baseline_of, headline_family

_GUESS = 0.5
_FPR, _COARSE_FPR = "0.01", "0.1"


@dataclass(frozen=True)
class Summary:
    """What is to be said about one defense.

    Attributes:
        label: its name.
        verdict: a few words.
        leaks: whether membership shows in any seed.
        sentences: what an attacker finds, and what the model is good for.
    """

    label: str
    verdict: str
    leaks: bool
    sentences: list[str]


def summarize_groups(groups: Sequence[Group]) -> list[Summary]:
    """Return one summary a defense."""
    return [_summary(group, baseline_of(group, groups)) for group in groups]


def attack_title(name: str) -> str:
    """Return "modified_entropy/per_class" as people write it."""
    return name.replace("_", " ").replace("/", ", ")


def one_in(fpr: str) -> str:
    """Return "0.01" as "1 non-member in 100"."""
    return f"1 non-member in {round(1 / float(fpr)):,}"


def _summary(group: Group, base: Group | None) -> Summary:
    bests = group.headlines()
    if not bests:
        return Summary(group.label, "not attacked", False, [_usefulness(group, base)])
    planted = [on_canaries(row, headline_family(row)) for row in group.rows if row["best"]]
    canaries = [each for each in planted if each is not None]
    sentences = [
        *_finds(bests),
        *_is_right(bests),
        *_finds_planted(canaries),
        _usefulness(group, base),
    ]
    leaking = sum(
        _above_guess(best) or _finds_more(best) or (found is not None and _ranks_higher(found))
        for best, found in zip(bests, planted, strict=True)
    )
    return Summary(
        group.label,
        _verdict(leaking, len(bests)),
        leaking > 0,
        [each.replace(" %", "\u00a0%") for each in (*sentences, *_no_proof(leaking))],
    )


def _above_guess(best: dict[str, Any]) -> bool:
    return bool(best["balanced_accuracy_interval"][0] > _GUESS)


def _finds_more(best: dict[str, Any]) -> bool:
    point = best["tpr_at_fpr"][_FPR]
    return bool(point["resolved"] and point["interval"][0] > float(_FPR))


def _ranks_higher(canaries: dict[str, Any]) -> bool:
    return bool(canaries["auc_interval"][0] > _GUESS)


def _verdict(leaking: int, seeds: int) -> str:
    if seeds == 1:
        return "membership leaks" if leaking else "no leak shown"
    return f"membership leaks in {leaking} of {seeds} seeds" if leaking else "no leak shown"


def _finds(bests: Sequence[dict[str, Any]]) -> list[str]:
    """Say what share of the members is found at a low FPR, where the records suffice for that."""
    if all(best["tpr_at_fpr"][_FPR]["resolved"] for best in bests):
        return [_found_at(bests, _FPR)]
    point = max((b["tpr_at_fpr"][_FPR] for b in bests), key=lambda p: p["needed_non_members"])
    fewest = min(best["non_members"] for best in bests)
    said = [
        f"What an attacker finds who may be wrong for {one_in(_FPR)} is unresolved: "
        f"{fewest:,} non-members were scored, and it takes at least "
        f"{point['needed_non_members']:,}."
    ]
    if all(best["tpr_at_fpr"].get(_COARSE_FPR, {}).get("resolved") for best in bests):
        said.append(_found_at(bests, _COARSE_FPR))
    return said


def _found_at(bests: Sequence[dict[str, Any]], fpr: str) -> str:
    points = [best["tpr_at_fpr"][fpr] for best in bests]
    shares = [point["tpr"] for point in points]
    who = f"n attacker who may be wrong for {one_in(fpr)} finds {percent(fmean(shares))} %"
    guess = f"guessing would find {float(fpr):.0%}".replace("%", " %")
    if len(points) > 1:
        return (
            f"Over {len(points)} seeds, a{who} of the members on average (from "
            f"{percent(min(shares))} to {percent(max(shares))} %); {guess}."
        )
    low, high = points[0]["interval"]
    told = _told(low, float(fpr), high)
    return (
        f"A{who} of the members (between {percent(low)} and {percent(high)} %, with 95 % "
        f"confidence); {guess}.{told}"
    )


def _finds_planted(canaries: Sequence[dict[str, Any]]) -> list[str]:
    """Say what share of the canaries that were trained on the same attack finds."""
    for fpr in (_FPR, _COARSE_FPR):
        points = [each["tpr_at_fpr"][fpr] for each in canaries]
        if points and all(point["resolved"] for point in points):
            share = fmean(point["tpr"] for point in points)
            low = min(point["interval"][0] for point in points)
            high = max(point["interval"][1] for point in points)
            return [
                f"Of records planted with a wrong label, the canaries, it finds {percent(share)} % "
                f"(between {percent(low)} and {percent(high)} %) where it may be wrong for "
                f"{one_in(fpr)}."
            ]
    return []


def _is_right(bests: Sequence[dict[str, Any]]) -> list[str]:
    values = [best["balanced_accuracy"] for best in bests]
    said = (
        "Asked about as many members as non-members, the best attack is right for "
        f"{percent(fmean(values))} % of them"
    )
    above = sum(map(_above_guess, bests))
    if len(values) > 1:
        seeds = f"In {above or 'none'} of {len(values)} seeds the 95 % interval"
        return [
            f"{said} on average (from {percent(min(values))} to {percent(max(values))} %); "
            f"guessing is right for 50 %. {seeds} lies above guessing."
        ]
    low, high = bests[0]["balanced_accuracy_interval"]
    told = _told(low, _GUESS, high)
    return [
        f"{said} (between {percent(low)} and {percent(high)} %, with 95 % confidence); guessing is "
        f"right for 50 %.{told}"
    ]


def _told(low: float, guess: float, high: float) -> str:
    """Say what an interval means beside the guess; nothing where it lies above."""
    if low > guess:
        return ""
    if high < guess:
        return " That is less than guessing."
    return " The two cannot be told apart with so few records."


def _no_proof(leaking: int) -> list[str]:
    if leaking:
        return []
    return ["This is no proof that nothing leaks: more records, or a better attack, may show more."]


def _usefulness(group: Group, base: Group | None) -> str:
    test = fmean(group.accuracy("test_accuracy").values)
    said = f"It classifies {percent(test)} % of new records correctly"
    if base is None:
        return f"{said}."
    points = 100 * (test - fmean(base.accuracy("test_accuracy").values))
    change = f"{abs(points):.1f} points {'more' if points > 0 else 'less'} than"
    return f"{said}, {'as many as' if round(points, 1) == 0 else change} {base.label}."
