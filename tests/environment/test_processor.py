"""What the processor is taken for, also where PyTorch says little or is told to do with less."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from selena.environment import processor
from selena.environment.processor import (
    has_amx,
    has_fast_bfloat16,
    has_fused_kernels,
    numeric_environment,
)
from selena.networks.mlp import MLP
from selena.training.engine import fit_networks
from selena.training.inference import predict
from selena.training.job import Examples, Job
from tests.toys import CLASSES, FEATURES, RECIPE, toy_records

CPU = torch.device("cpu")


def yes() -> bool:
    return True


@pytest.fixture
def modern(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that has everything."""
    kernels = SimpleNamespace(_linear_pointwise=None, _is_mkldnn_bf16_supported=yes)
    monkeypatch.setattr(torch.ops, "mkldnn", kernels)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", yes)
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, yes, raising=False)
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("modern")
def test_a_modern_processor_has_everything() -> None:
    assert has_amx()
    assert has_fused_kernels()
    assert has_fast_bfloat16(CPU)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PyTorch without any of the operators that are its own business."""
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported", "get_capabilities"):
        monkeypatch.delattr(torch.cpu, name, raising=False)


@pytest.mark.usefixtures("bare")
def test_without_private_operators_nothing_is_assumed() -> None:
    assert not has_amx()
    assert not has_fused_kernels()
    assert not has_fast_bfloat16(CPU)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "auto"])
def test_without_private_operators_networks_train(precision: str) -> None:
    records = toy_records(40)
    recipe = RECIPE.__class__(epochs=1, batch_size=16, precision=precision)  # type: ignore[arg-type]
    (network,) = fit_networks(
        MLP(FEATURES, CLASSES, hidden=(8,)),
        Examples(records.x, records.y),
        [Job("one", torch.arange(40), 0)],
        recipe,
    )
    assert bool(torch.isfinite(predict(network, records.x)).all())


@pytest.mark.usefixtures("modern")
@pytest.mark.parametrize(
    ("limit", "fast"),
    [("AVX2", False), ("avx512_core", False), ("AVX512_CORE_BF16", True), ("ALL", True)],
)
def test_bfloat16_follows_a_limit_of_instructions(
    limit: str, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert has_fast_bfloat16(CPU) is fast


@pytest.mark.parametrize(
    ("name", "value"),
    [("ONEDNN_MAX_CPU_ISA", "AVX2"), ("MKL_ENABLE_INSTRUCTIONS", "SSE4_2"), ("MKL_CBWR", "AVX2")],
)
def test_limits_are_part_of_the_environment(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(name, raising=False)
    before = numeric_environment()
    monkeypatch.setenv(name, value)
    assert numeric_environment() != before


def test_threads_are_part_of_the_environment() -> None:
    assert numeric_environment(threads=1) != numeric_environment(threads=2)


def test_a_clock_rate_is_no_part_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for name in ("Intel(R) Xeon(R) CPU @ 2.20GHz", "Intel(R) Xeon(R) CPU @ 2.30GHz"):
        monkeypatch.setattr(processor, "processor_name", lambda name=name: name)
        found.append(numeric_environment())
    assert found[0] == found[1]
