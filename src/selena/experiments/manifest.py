"""What a manifest must hold: names and types, checked before anything is read from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from selena.auditing.saved import check_described, mismatch

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
_FILE = re.compile(r"[\w.-]+\.safetensors", re.ASCII)


def check_manifest(manifest: Mapping[str, Any]) -> str:
    """Return what is wrong with a manifest, or an empty text."""
    wrong = mismatch(manifest, _SHAPE, "")
    scores = manifest.get("scores", {})
    if not wrong and not isinstance(scores, dict):
        wrong = "scores must be an object"
    if not wrong:
        names = [name for name, value in scores.items() if not _is_file(name, value)]
        wrong = f"scores holds {names[0]!r}, which names no file of scores" if names else ""
    return wrong


def check_audited(audited: object) -> str:
    """Return what is wrong with the manifest's `audited`, or an empty text."""
    wrong = check_described(audited, "audited")
    if wrong or not isinstance(audited, dict):
        return wrong
    for name, about in audited["attacks"].items():
        file = about.get("scores")
        if not isinstance(file, str) or not _is_file(file, ""):
            return f"audited.attacks.{name}.scores names no file of scores"
    return ""


def is_run_file(name: str) -> bool:
    """Return whether a run folder has files of this name (`scores/...` for those of scores)."""
    inside = name.removeprefix("scores/")
    own = name in ("manifest.json", "model.safetensors", "audit.json")
    return own or (inside != name and _FILE.fullmatch(inside) is not None)


def _is_file(name: str, digest: object) -> bool:
    return _FILE.fullmatch(name) is not None and isinstance(digest, str)
