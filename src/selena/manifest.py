"""What a manifest must hold: names and types, checked before anything is read from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

from selena.types import Access, Family

_SHAPE: dict[str, Any] = {
    "settings": {
        "data": dict,
        "defense": str,
        "seed": int,
        "selection": str,
        "plan": dict,
        "defense_settings": dict,
    },
    "data": {
        "name": str,
        "records": int,
        "classes": int,
        "sha256": str,
        "source": str,
        "synthetic": bool,
    },
    "partition": dict,
    "split": dict,
    "selected_on_evaluation": bool,
    "code": {"version": str, "training": str, "torch": str},
    "model_sha256": str,
    "timings": {"train_seconds": float},
}
_AUDITED: dict[str, Any] = {
    "seed": int,
    "classes": int,
    "train": {"correct": int, "n": int},
    "test": {"correct": int, "n": int},
    "attacks": dict,
}
_ATTACK = {"family": str, "access": str, "settings": dict, "scores": str}
_CANARIES = {"copies": int, "copies_grouped": bool}
_FILE = re.compile(r"[\w.-]+\.safetensors", re.ASCII)


def check_manifest(manifest: Mapping[str, Any]) -> str:
    """Return what is wrong with a manifest, or an empty text."""
    wrong = _mismatch(manifest, _SHAPE, "")
    scores = manifest.get("scores", {})
    if not wrong and not isinstance(scores, dict):
        wrong = "scores must be an object"
    if not wrong:
        names = [name for name, value in scores.items() if not _is_file(name, value)]
        wrong = f"scores holds {names[0]!r}, which names no file of scores" if names else ""
    return wrong


def check_audited(audited: object) -> str:
    """Return what is wrong with the manifest's `audited`, or an empty text."""
    wrong = _mismatch(audited, _AUDITED, "audited")
    if wrong or not isinstance(audited, dict):
        return wrong
    for part in ("train", "test"):
        if not 0 <= audited[part]["correct"] <= audited[part]["n"] or not audited[part]["n"]:
            return f"audited.{part} counts no share of records"
    if audited["classes"] < 1:
        return "audited.classes must be positive"
    for name, about in audited["attacks"].items():
        where = f"audited.attacks.{name}"
        wrong = _mismatch(about, _ATTACK, where)
        if wrong:
            return wrong
        if about["family"] not in get_args(Family) or about["access"] not in get_args(Access):
            return f"{where} has an unknown family or access"
        if not _is_file(about["scores"], ""):
            return f"{where}.scores names no file of scores"
    return _mismatch(audited["canaries"], _CANARIES, "canaries") if "canaries" in audited else ""


def _is_file(name: str, digest: object) -> bool:
    return _FILE.fullmatch(name) is not None and isinstance(digest, str)


def _mismatch(value: object, shape: Any, where: str) -> str:
    """Return where `value` has another type than `shape` says, in words."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{where or 'it'} must be an object"
        for name, inner in shape.items():
            place = f"{where}.{name}" if where else name
            if name not in value:
                return f"{place} is lacking"
            wrong = _mismatch(value[name], inner, place)
            if wrong:
                return wrong
        return ""
    if shape is float:
        right = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        right = isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
    return "" if right else f"{where} must be {_WORDS[shape]}"


_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
}
