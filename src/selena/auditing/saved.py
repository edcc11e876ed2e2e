"""A report as one file: scores as safetensors, and everything else for the figures as metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from selena.auditing.report import Accuracy, AuditReport
from selena.auditing.results import AuditSetup, attack_result
from selena.auditing.scoring import AttackScores, pack_scores, unpack_scores
from selena.auditing.stored_records import StoredRecords
from selena.errors import DataError, StoreError
from selena.files.writing import atomic_path
from selena.types import Access, Family

_KEY = "selena-report/1"
_SEPARATOR = ":"
_DESCRIBED: dict[str, Any] = {
    "setup": {
        "num_classes": int,
        "seed": int,
        "delta": float,
        "copies": int,
        "copies_grouped": bool,
    },
    "inputs": dict,
    "train_accuracy": {"correct": int, "n": int, "trials": float},
    "test_accuracy": {"correct": int, "n": int, "trials": float},
    "attacks": dict,
}
_MOST, _MOST_CLASSES = 2**53, 10**7
"""Limits of the numbers in a description; of classes fewer, because each takes memory."""
_ATTACK = {"family": str, "access": str, "settings": dict}
_COUNT = int | None
_STORED = {"model": str, "parts": list, "records": _COUNT, "found": _COUNT}
_PART = {"where": str, "kind": str, "rows": int, "equal": _COUNT, "by_kind": bool}


def describe_report(report: AuditReport) -> dict[str, Any]:
    """Return everything in a report except the scores, as data for JSON."""
    stored = report.stored_records
    return {
        **({} if stored is None else {"stored_records": stored.to_json()}),
        "setup": asdict(report.setup),
        "inputs": dict(report.inputs),
        "train_accuracy": report.train_accuracy.to_json(),
        "test_accuracy": report.test_accuracy.to_json(),
        "attacks": {
            name: {"family": r.family, "access": r.access, "settings": r.settings}
            for name, r in report.attacks.items()
        },
    }


def described_report(
    described: Mapping[str, Any], scores: Callable[[str], AttackScores]
) -> AuditReport:
    """Return the report of `describe_report`; every figure is computed from the scores.

    Args:
        described: checked by `check_described`.
        scores: returns the scores of an attack by its name.

    Raises:
        DataError: no figures can be computed from the scores.
        StoreError: as raised by `scores`.
    """

    def named(part: str) -> dict[str, Any]:
        return {name: described[part][name] for name in _DESCRIBED[part]}

    setup, stored = AuditSetup(**named("setup")), described.get("stored_records")
    return AuditReport(
        Accuracy.of(**named("train_accuracy")),
        Accuracy.of(**named("test_accuracy")),
        {
            name: attack_result(
                name, about["family"], about["access"], about["settings"], scores(name), setup
            )
            for name, about in described["attacks"].items()
        },
        setup,
        described["inputs"],
        stored_records=None if stored is None else StoredRecords.of(stored),
    )


def check_described(described: object, where: str = "") -> str:
    """Return what is wrong with the description of a report, or an empty text."""
    wrong = mismatch(described, _DESCRIBED, where)
    if wrong or not isinstance(described, dict):
        return wrong
    for part in ("train_accuracy", "test_accuracy"):
        counts = described[part]
        n = counts["n"]
        if not 0 <= counts["correct"] <= n <= _MOST or not 0 < counts["trials"] <= n:
            return f"{part} counts no share of records"
    setup = described["setup"]
    if (
        not 1 <= setup["num_classes"] <= _MOST_CLASSES
        or not 0 <= setup["delta"] < 1
        or not 0 <= setup["copies"] <= _MOST
    ):
        return "setup holds a number out of range"
    if not all(isinstance(value, str) for value in described["inputs"].values()):
        return "inputs must hold text"
    for name, about in described["attacks"].items():
        wrong = mismatch(about, _ATTACK, f"attacks.{name}")
        if wrong:
            return wrong
        if about["family"] not in get_args(Family) or about["access"] not in get_args(Access):
            return f"attacks.{name} has an unknown family or access"
    return _check_stored(described.get("stored_records"))


def _check_stored(stored: object) -> str:
    if stored is None:
        return ""
    wrong = mismatch(stored, _STORED, "stored_records")
    parts = stored["parts"] if isinstance(stored, dict) and not wrong else []
    wrongs = [mismatch(part, _PART, f"stored_records.parts[{i}]") for i, part in enumerate(parts)]
    return next(filter(None, [wrong, *wrongs]), "")


def save_report(report: AuditReport, path: Path) -> Path:
    """Write `report` to `path`, whole or not at all; return the path.

    Raises:
        StoreError: it cannot be written.
    """
    tensors = {
        f"{name}{_SEPARATOR}{part}": tensor.clone()  # safetensors refuses shared memory
        for name, result in report.attacks.items()
        for part, tensor in pack_scores(result.scores).items()
    }
    described = json.dumps(describe_report(report), sort_keys=False)
    try:
        with atomic_path(path) as temporary:
            # Not by save_file, which would replace the file that is held open here.
            temporary.write_bytes(save(tensors, metadata={_KEY: described}))
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{path} cannot be written ({error}).") from error
    return path


def load_report(path: Path) -> AuditReport:
    """Return the report that `save_report` wrote; figures are computed anew from its scores.

    Raises:
        StoreError: the file is absent, damaged, or no report.
    """
    described, tensors = _read(path)
    wrong = check_described(described)
    if wrong:
        raise StoreError(f"{path} is a damaged report: {wrong}. Audit again and save it anew.")
    try:
        return described_report(described, lambda name: unpack_scores(_part(tensors, name)))
    except (DataError, StoreError) as error:
        raise StoreError(
            f"{path} is a damaged report ({error}) Audit again and save it anew."
        ) from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        described = None if text is None else json.loads(text)
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} is absent or damaged ({error}).") from error
    if not isinstance(described, dict):
        raise StoreError(f"{path} is no report of selena: write one with `report.save(path)`.")
    return described, tensors


def _part(tensors: dict[str, Tensor], attack: str) -> dict[str, Tensor]:
    prefix = f"{attack}{_SEPARATOR}"
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}


def mismatch(value: object, shape: Any, where: str) -> str:
    """Return in words where the type of `value` differs from `shape`, or an empty text."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{where or 'it'} must be an object"
        for name, inner in shape.items():
            place = f"{where}.{name}" if where else name
            if name not in value:
                return f"{place} is lacking"
            wrong = mismatch(value[name], inner, place)
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
    list: "a list",
    _COUNT: "a whole number or null",
}
