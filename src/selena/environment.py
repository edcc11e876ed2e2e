"""What a bug report, and a run that is to be repeated, should say about the machine."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from joblib import cpu_count

from selena.processor import (
    has_amx,
    has_fast_bfloat16,
    numeric_environment,
    processor_name,
)
from selena.training.executor import worker_count, worker_threads
from selena.version import __version__
from selena.workspace import Workspace

_NOTE = "numeric-settings"
_LOG = logging.getLogger(__name__)

_PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "joblib",
    "safetensors",
    "typer",
    "rich",
    "pooch",
    "matplotlib",
    "jinja2",
    "pyarrow",
    "pillow",
    "opacus",
    "onnxruntime",
)


def describe_environment() -> dict[str, Any]:
    """Return versions, cores that may be used, instruction sets and devices."""
    return {
        "selena": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "processor": processor_name(),
        "cores": cpu_count(),
        "threads": torch.get_num_threads(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "amx": has_amx(),
        "bfloat16_on_cpu": has_fast_bfloat16(torch.device("cpu")),
        "cuda_devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def numeric_settings(workspace: Workspace) -> dict[str, Any]:
    """Return what moves the bytes of a run made in `workspace`, besides its settings and seed."""
    return {
        **numeric_environment(workspace.device),
        "worker_threads": worker_threads(worker_count(workspace)),
        "cohort_size": workspace.cohort_size,
        **({"mixed": sorted(workspace.shared.get("mixed", ()))} if workspace.mixed else {}),
    }


def report_numeric_differences(path: Path, before: Mapping[str, Any], workspace: Workspace) -> None:
    """Log one line if the finished run at `path` was made where sums round otherwise than here."""
    differing = _difference(before, numeric_settings(workspace))
    if differing:
        _LOG.warning(
            "%s was trained under other conditions (%s): its model is used as it is, and attacks "
            "run under the present ones. To train under the present ones, give another folder for "
            "runs.",
            path,
            differing,
        )


def note_numeric_settings(workspace: Workspace) -> None:
    """Write down how the artifacts of `workspace` are made; warn where they were made otherwise.

    Artifacts made otherwise have other names: they are trained again and never mixed with these.
    """
    now = numeric_settings(workspace)
    kept = workspace.load(_NOTE)
    if kept is not None:
        differing = _difference(json.loads(bytes(kept["json"].tolist())), now)
        if differing:
            _LOG.warning(
                "Unfinished work in %s was begun under other conditions (%s), so it starts again. "
                "To use it, run under the same conditions.",
                workspace.folder,
                differing,
            )
    workspace.save(_NOTE, {"json": torch.tensor(list(json.dumps(now).encode()))})


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(f"{name} was {before.get(name)!r}, is {now.get(name)!r}" for name in names)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
