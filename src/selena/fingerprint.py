"""What makes two pieces of work the same: hashes of settings, tensors and code.

A kept piece is looked up by its fingerprint, so a stale or foreign one cannot be reused: other
settings, other data, another seed or other training code give another name.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

TRAINING_CODE = ("data", "networks", "training", "defenses", "seeding.py", "types.py")
"""Rooms whose code decides what a trained model looks like."""


def describe(value: object) -> Any:
    """Return `value` (dataclasses, tensors, callables, plain values) as JSON-able data.

    A function or lambda that has no importable source is described by this process alone, so
    that nothing made with it is ever taken for somebody else's.
    """
    if is_dataclass(value) and not isinstance(value, type):
        described = {f.name: describe(getattr(value, f.name)) for f in fields(value)}
        return {"type": type(value).__qualname__, **described}
    if isinstance(value, Tensor):
        return tensor_digest(value)
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [describe(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if callable(value):
        return _describe_callable(value)
    return value


def _describe_callable(value: Callable[..., object]) -> str:
    name = getattr(value, "__qualname__", type(value).__qualname__)
    try:
        source = inspect.getsource(value)
    except (OSError, TypeError):
        return f"{name}@process-{os.getpid()}"
    if getattr(value, "__closure__", None) or "<lambda>" in name:
        return f"{name}@process-{os.getpid()}"
    return f"{value.__module__}.{name}:{sha256(source.encode()).hexdigest()[:16]}"


def fingerprint(*parts: object) -> str:
    """Return the SHA-256 (hex) of the descriptions of `parts`."""
    text = json.dumps([describe(part) for part in parts], sort_keys=True)
    return sha256(text.encode()).hexdigest()


def tensor_digest(*tensors: Tensor) -> str:
    """Return the SHA-256 (hex) of the shapes, types and bytes of `tensors`."""
    digest = sha256()
    for tensor in tensors:
        flat = tensor.detach().cpu().contiguous()
        digest.update(f"{tuple(flat.shape)}{flat.dtype}".encode())
        digest.update(flat.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@cache
def code_digest(*rooms: str) -> str:
    """Return the SHA-256 (hex) of the code of `rooms` and PyTorch's version.

    A room is a folder or file of this package; by default those of `TRAINING_CODE`.
    """
    root = Path(__file__).parent
    digest = sha256(torch.__version__.encode())
    for room in rooms or TRAINING_CODE:
        path = root / room
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(str(file.relative_to(root)).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()
