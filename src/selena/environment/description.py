"""A description of the machine, for bug reports and for repeating runs."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from joblib import cpu_count

from selena.environment.processor import (
    has_amx,
    has_fast_bfloat16,
    processor_name,
)
from selena.environment.version import __version__

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
    """Return versions, usable cores, instruction sets and devices."""
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


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
