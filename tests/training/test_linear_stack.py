"""The fused bf16 passes of plain stacks: what they take, and how near they are to float32."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from selena.environment.processor import has_fused_kernels
from selena.networks.mlp import MLP
from selena.seeding import seeded, torch_generator
from selena.training import forward as forward_module
from selena.training.forward import activate, answers, forward_in, linear, linear_stack
from selena.training.inference import predict

CPU = torch.device("cpu")


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stacks take the fused passes: of PyTorch's ordinary products where there are no kernels.

    Those round once more, before the activation.
    """
    if not has_fused_kernels():
        monkeypatch.setattr(forward_module, "has_fused_kernels", lambda: True)
        monkeypatch.setattr(forward_module, "_may_fuse", lambda x: False)


def network(**settings: object) -> nn.Module:
    with seeded(3, "weights"):
        return MLP(40, 7, **{"hidden": (64, 32), **settings})()  # type: ignore[arg-type]


def without_bias() -> nn.Module:
    with seeded(3, "weights"):
        return nn.Sequential(nn.Linear(40, 32, bias=False), nn.Tanh(), nn.Linear(32, 7))


STACKS = [
    network(),
    network(activation="relu"),
    network(hidden=()),
    nn.Sequential(*network(), nn.Tanh()),  # type: ignore[misc]
    without_bias(),
]


def gradients(network: nn.Module, forward: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the gradient of the loss of one fixed batch, all parameters in a row."""
    generator = torch_generator(0, "batch")
    x = torch.rand(96, 40, generator=generator)
    y = torch.randint(0, 7, (96,), generator=generator)
    functional.cross_entropy(forward(x), y).backward()
    found = [p.grad for p in network.parameters() if p.grad is not None]
    assert len(found) == len(list(network.parameters()))
    assert {g.dtype for g in found} == {torch.float32}
    return torch.cat([g.flatten() for g in found])


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("model", STACKS)
def test_gradients_are_as_near_as_autocast(model: nn.Module) -> None:
    model, other, exact = (deepcopy(model) for _ in range(3))
    forward = forward_in(torch.bfloat16, model, CPU)
    plain = forward_in(torch.bfloat16, other, CPU, higher_order=True)
    assert forward.func is not plain.func  # type: ignore[attr-defined]
    truth = gradients(exact, exact)
    fused, autocast = gradients(model, forward), gradients(other, plain)
    assert 0 < (fused - truth).norm() <= 1.1 * (autocast - truth).norm()
    assert (fused - truth).norm() < 0.02 * truth.norm()


def test_without_kernels_bf16_goes_through_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor without AVX-512, whose oneDNN refuses bf16."""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    model = network()
    exact, rounded = (
        gradients(copy, forward_in(dtype, copy, CPU))
        for dtype in (torch.float32, torch.bfloat16)
        for copy in [deepcopy(model)]
    )
    assert 0 < (rounded - exact).norm() < 0.02 * exact.norm()
    x = torch.rand(8, 40).to(torch.bfloat16)
    assert torch.equal(linear(x, x, None, "tanh"), torch.tanh(x @ x.T))


def test_tanh_in_float32_is_exact_to_2e_7() -> None:
    ends = torch.tensor([torch.inf, -torch.inf, 1e38])
    x = torch.cat([torch.linspace(-20, 20, 100_001), ends])[None]
    error = activate(x, "tanh").double() - x.double().tanh()
    assert float(error.abs().max()) < 2e-7


@pytest.mark.parametrize("model", STACKS)
def test_answers_equal_the_network_within_rounding(
    model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.rand(301, 40, generator=torch_generator(1, "x"))
    stack = linear_stack(model)
    assert stack is not None
    with torch.no_grad():
        found, exact = answers(stack, x), model.double()(x.double())
    model.float()
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-6)
    monkeypatch.setattr("selena.training.inference._CPU_NUMBERS", 40 * 100)
    with torch.no_grad():
        parts = [answers(stack, x[start : start + 100]) for start in range(0, 301, 100)]
        assert torch.equal(predict(model, x), torch.cat(parts))


@pytest.mark.usefixtures("fused")
def test_input_gradient_is_near_that_of_float32() -> None:
    model, x = network(), torch.rand(16, 40, requires_grad=True)
    exact, fused = (
        torch.autograd.grad(forward(x).square().sum(), x)[0]
        for forward in (model, forward_in(torch.bfloat16, model, CPU))
    )
    assert fused.dtype == torch.float32
    assert (fused - exact).norm() < 0.02 * exact.norm()


class Doubled(nn.Linear):
    """A layer that computes something else than its parent."""

    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(40, 7))
    model[0].register_forward_hook(lambda module, given, output: 2 * output)
    return model


@pytest.mark.parametrize(
    "model",
    [
        nn.Linear(40, 7),
        nn.Sequential(),
        nn.Sequential(nn.Tanh(), nn.Linear(40, 7)),
        nn.Sequential(nn.Linear(40, 7), nn.Dropout()),
        nn.Sequential(nn.Linear(40, 7), nn.Flatten()),
        nn.Sequential(nn.Linear(40, 7).double()),
        nn.Sequential(Doubled(40, 7)),
        nn.utils.parametrizations.weight_norm(nn.Linear(40, 7)),
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(40, 7))),
        network(standardize=True),
        hooked(),
    ],
)
def test_only_plain_stacks_count_as_such(model: nn.Module) -> None:
    assert linear_stack(model) is None


def test_a_plain_stack_is_read_layer_by_layer() -> None:
    stack = linear_stack(network())
    assert stack is not None
    assert [(layer.out_features, name) for layer, name in stack] == [
        (64, "tanh"),
        (32, "tanh"),
        (7, "none"),
    ]


@pytest.mark.usefixtures("fused")
def test_second_gradients_are_refused_or_computed() -> None:
    x = torch.rand(4, 40)
    model = network()
    fused = forward_in(torch.bfloat16, model, CPU)
    weights = list(model.parameters())
    first = torch.autograd.grad(fused(x).square().sum(), weights, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        sum(g.square().sum() for g in first).backward()  # type: ignore[union-attr]
    other = forward_in(torch.bfloat16, model, CPU, higher_order=True)
    first = torch.autograd.grad(other(x).square().sum(), weights, create_graph=True)
    sum(g.square().sum() for g in first).backward()  # type: ignore[union-attr]
    assert weights[0].grad is not None
    assert bool((weights[0].grad != 0).any())


@pytest.mark.usefixtures("fused")
def test_kernels_meet_few_numbers_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch keeps one for each; what is filled up changes no answer and no gradient."""
    met: set[int] = set()

    def noting(x: Tensor, *rest: Any) -> Tensor:
        met.add(len(x))
        return linear(x, *rest)

    monkeypatch.setattr(forward_module, "linear", noting)
    model = network()
    stack = linear_stack(model)
    assert stack is not None
    forward = forward_in(torch.bfloat16, model, CPU)
    x = torch.rand(130, 40, generator=torch_generator(0, "x"))
    for n in (1, 7, 64, 65, 130):
        assert answers(stack, x[:n]).shape == forward(x[:n]).shape == (n, 7)
        torch.testing.assert_close(answers(stack, x[:n]), model(x[:n]), rtol=0, atol=1e-5)
    assert met == {64, 128, 192}
