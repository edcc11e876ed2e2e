"""A report as one file: its scores as safetensors, and what figures need besides as metadata."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from selena.auditing.report import Accuracy, AuditReport
from selena.auditing.results import AuditSetup, attack_result
from selena.auditing.scoring import pack_scores, unpack_scores
from selena.errors import DataError, StoreError
from selena.files import atomic_path

_KEY = "selena-report/1"
_SEPARATOR = ":"


def save_report(report: AuditReport, path: Path) -> Path:
    """Write `report` to `path`, whole or not at all; return the path.

    Raises:
        StoreError: it cannot be written.
    """
    tensors = {
        f"{name}{_SEPARATOR}{part}": tensor
        for name, result in report.attacks.items()
        for part, tensor in pack_scores(result.scores).items()
    }
    described = {
        "setup": asdict(report.setup),
        "inputs": dict(report.inputs),
        "train_accuracy": asdict(report.train_accuracy),
        "test_accuracy": asdict(report.test_accuracy),
        "attacks": [
            {"name": r.name, "family": r.family, "access": r.access, "settings": r.settings}
            for r in report.attacks.values()
        ],
    }
    try:
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata={_KEY: json.dumps(described, sort_keys=True)})
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{path} cannot be written ({error}).") from error
    return path


def load_report(path: Path) -> AuditReport:
    """Return the report that `save_report` wrote; figures are computed anew from its scores.

    Raises:
        StoreError: the file is absent, damaged, or no report.
    """
    described, tensors = _read(path)
    try:
        setup = AuditSetup(**described["setup"])
        return AuditReport(
            _accuracy(described["train_accuracy"]),
            _accuracy(described["test_accuracy"]),
            {
                attack["name"]: attack_result(
                    **attack, scores=unpack_scores(_part(tensors, attack["name"])), setup=setup
                )
                for attack in described["attacks"]
            },
            setup,
            described["inputs"],
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, DataError) as error:
        raise StoreError(
            f"{path} is a damaged report ({error}). Audit again and save it anew."
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


def _accuracy(read: dict[str, Any]) -> Accuracy:
    low, high = read["interval"]
    trials = float(read["trials"])
    return Accuracy(float(read["value"]), (float(low), float(high)), int(read["n"]), trials)
