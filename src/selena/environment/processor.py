"""The processor, its instructions, and all other conditions that rounding depends on.

Environment variables can forbid PyTorch's libraries some instructions. The functions respect them,
so such a process behaves as on a processor without these instructions.
"""

from __future__ import annotations

import os
import platform
from typing import Any

import torch

# Variables that forbid PyTorch's libraries some instructions, or change the order of sums.
_LIMITS = (
    "ATEN_CPU_CAPABILITY",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
)
# Parts of oneDNN's names of instruction sets that include bf16, and of no limit.
_WITH_BFLOAT16 = ("BF16", "FP16", "AMX", "AVX10", "ALL", "DEFAULT")


def processor_name() -> str:
    """Return maker and kind of the processor if PyTorch tells them, else its architecture."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return capabilities.get("cpu_name") or platform.processor() or platform.machine()


def has_fused_kernels() -> bool:
    """Return whether fusing a linear layer and its activation is faster on this processor.

    It is if oneDNN has kernels for AVX-512. Without AVX-512 it has none for bf16, and those for
    float32 take a quarter longer than separate product and activation.
    """
    onednn = torch.ops.mkldnn
    if not torch.backends.mkldnn.is_available() or not hasattr(onednn, "_linear_pointwise"):
        return False
    return _says(onednn, "_is_mkldnn_bf16_supported")


def has_amx() -> bool:
    """Return whether the processor has AMX, instructions that multiply tiles of matrices."""
    return _says(torch.cpu, "_is_amx_tile_supported")


def has_fast_bfloat16(device: torch.device) -> bool:
    """Return whether `device` has instructions that multiply bf16 matrices."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not _says(torch.ops.mkldnn, "_is_mkldnn_bf16_supported") or not _may_use_bfloat16():
        return False
    return has_amx() or _says(torch.cpu, "_is_avx512_bf16_supported")


def numeric_environment(device: str = "cpu", threads: int | None = None) -> dict[str, Any]:
    """Return what the bytes of a result depend on besides settings, data, seed and code.

    Args:
        device: where networks train, as PyTorch names it.
        threads: number of threads; None for as many as in this process.
    """
    place = torch.device(device)
    return {
        "torch": torch.__version__,
        # Without the clock rate, which does not change results.
        "processor": processor_name().partition("@")[0].strip(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "limits": {name: os.environ[name] for name in _LIMITS if name in os.environ},
        "threads": torch.get_num_threads() if threads is None else threads,
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else place.type,
        "bfloat16": has_fast_bfloat16(place),
        "float32_products": torch.get_float32_matmul_precision(),
    }


def _may_use_bfloat16() -> bool:
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "ALL"))
    return any(part in limit.upper() for part in _WITH_BFLOAT16)


def _says(owner: Any, name: str) -> bool:
    """Return the result of one of PyTorch's private functions; False if it is absent."""
    function = getattr(owner, name, None)
    return function is not None and bool(function())
