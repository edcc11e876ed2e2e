"""Runs tests for CUDA where there is no GPU: `pytest -p tests.emulated_cuda tests/test_cuda.py`.

The device calls itself CUDA, computes on the processor, and refuses to mix its tensors with those
of the processor. So it finds what is left on the wrong device and what differs because the device
is another (autocast's list of operations, branches on the device's type); it cannot find what the
kernels of a GPU do otherwise, and is slow. Needs a C++ compiler and a PyTorch without CUDA.

Like CUDA, a process has the GPUs that CUDA_VISIBLE_DEVICES names when it first uses one, whatever
becomes of the variable. They share the processor and its memory. SELENA_EMULATED_DEVICE may name
the library that `build` made before.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any


@cache
def visible() -> tuple[str, ...]:
    """Return the GPUs of this process, as they are called."""
    return tuple(filter(None, os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")))


def build(torch_folder: Path) -> Path:
    """Compile the device, for as long as this process lives."""
    library = Path(tempfile.mkdtemp(prefix="selena-device-")) / "device.so"
    atexit.register(shutil.rmtree, library.parent, ignore_errors=True)
    headers = torch_folder / "include"
    subprocess.run(
        [
            *("c++", "-std=c++20", "-O1", "-shared", "-fPIC", "-w"),
            *(f"-I{headers}", f"-I{headers / 'torch/csrc/api/include'}"),
            *(str(Path(__file__).with_name("device.cpp")), f"-L{torch_folder / 'lib'}"),
            *("-lc10", "-ltorch_cpu", "-o", str(library)),
        ],
        check=True,
    )
    return library


def _load() -> None:
    """Give PyTorch the device, which it looks for once, when it is imported."""
    if "torch" in sys.modules:
        raise RuntimeError("Load this plugin before PyTorch: pytest -p tests.emulated_cuda")
    specification = find_spec("torch")
    assert specification is not None
    assert specification.origin is not None
    folder = Path(specification.origin).parent
    library = os.environ.get("SELENA_EMULATED_DEVICE") or build(folder)
    for path in (folder / "lib/libtorch_cpu.so", library):
        ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)


def _pretend() -> None:
    """Answer what Python asks of CUDA before it uses the device."""
    import torch
    from torch import Tensor
    from torch.nn import Parameter

    if torch.version.cuda is not None:
        raise RuntimeError("This PyTorch has CUDA of its own; test on that.")
    answers: dict[str, Callable[..., Any]] = {
        "is_available": lambda: bool(visible()),
        "is_initialized": lambda: True,
        "is_bf16_supported": lambda including_emulation=True: True,
        "device_count": lambda: len(visible()),
        "current_device": lambda: 0,
        "get_device_name": lambda _device=None: "emulated",
        "get_rng_state": lambda _device=0: torch.zeros(1, dtype=torch.uint8),
    }
    for name in ("_lazy_init", "manual_seed", "manual_seed_all", "set_rng_state", "synchronize"):
        answers[name] = lambda *_: None  # each one of its own: PyTorch tells them apart
    for name, answer in answers.items():
        setattr(torch.cuda, name, answer)

    plain: dict[Any, Callable[..., Any]] = {kind: kind.__deepcopy__ for kind in (Tensor, Parameter)}

    def copied(tensor: Tensor, memo: dict[int, Any]) -> Any:
        """Copy a tensor; of this device PyTorch does not know how."""
        kind = Parameter if isinstance(tensor, Parameter) else Tensor
        if not tensor.is_cuda:
            return plain[kind](tensor, memo)
        if id(tensor) not in memo:
            twin = tensor.detach().clone()
            memo[id(tensor)] = Parameter(twin) if kind is Parameter else twin
        return memo[id(tensor)]

    for kind in plain:
        kind.__deepcopy__ = copied


_load()
_pretend()
