"""What DP-SGD states about privacy: epsilon, the noise for a target, and warnings."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from selena.defenses.dp_sgd import DPSGD, _is_plain
from selena.errors import AuditWarning, ConfigError
from selena.networks import NetworkFactory
from selena.training.recipe import Recipe
from tests.toys import CLASSES, NETWORK, RECIPE, toy_records

pytestmark = [
    pytest.mark.skipif(find_spec("opacus") is None, reason="needs the extra `dp`"),
    pytest.mark.filterwarnings("ignore:Optimal order"),  # what the R00e9nyi accountant says
]

TRAIN, VALIDATION = toy_records(64, seed=1), toy_records(16, seed=2)
BRIEF = DPSGD(NETWORK, CLASSES, replace(RECIPE, epochs=1))


def renyi(defense: DPSGD, n: int) -> float:
    from opacus.accountants import RDPAccountant

    accountant, size = RDPAccountant(), defense.recipe.batch_size
    steps = defense.recipe.epochs * math.ceil(n / size)
    accountant.history = [(defense.noise_multiplier, min(1.0, size / n), steps)]
    return float(accountant.get_epsilon(defense.delta))


def test_epsilon_is_tighter_than_renyi() -> None:
    defense = DPSGD(NETWORK, CLASSES, replace(RECIPE, epochs=12))
    # dp_accounting 0.6.0, privacy loss distributions: 6.929.
    assert defense.epsilon(200) == pytest.approx(6.93, abs=0.02)
    assert renyi(defense, 200) == pytest.approx(7.74, abs=0.02)


def test_full_batches_raise_no_warning() -> None:
    whole = replace(BRIEF, recipe=replace(RECIPE, batch_size=100, epochs=10))
    assert whole.epsilon(100) == pytest.approx(17.87, abs=0.02)  # dp_accounting: 17.86


def test_failure_of_prv_is_said() -> None:
    bare = replace(BRIEF, noise_multiplier=1e-3)
    with pytest.warns(AuditWarning, match="PRV accountant failed.*Rényi"):
        epsilon = bare.epsilon(64)
    assert epsilon == pytest.approx(renyi(bare, 64))


def test_an_exception_of_prv_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from opacus.accountants import PRVAccountant

    def fails(*_: object, **__: object) -> float:
        raise RuntimeError("Discrete mean differs")

    monkeypatch.setattr(PRVAccountant, "get_epsilon", fails)
    odd = replace(BRIEF, noise_multiplier=1.2345)  # nobody else asked about it
    with pytest.warns(AuditWarning, match="RuntimeError: Discrete mean differs"):
        assert odd.epsilon(64) == pytest.approx(renyi(odd, 64))


def test_no_noise_to_speak_of_is_infinite() -> None:
    with pytest.warns(AuditWarning, match="next to no noise"):
        assert replace(BRIEF, noise_multiplier=1e-200).epsilon(64) == math.inf


def test_noise_reaches_the_target() -> None:
    defense = replace(BRIEF, target_epsilon=3.0)
    assert 2.97 < defense.epsilon(64) <= 3.0
    less = replace(BRIEF, noise_multiplier=0.99 * defense.noise(64))
    assert less.epsilon(64) > 3.0


def test_model_of_a_target_keeps_it() -> None:
    model = replace(BRIEF, target_epsilon=3.0).fit(TRAIN, VALIDATION, seed=0)
    assert 2.97 < model.epsilon <= 3.0


def test_unreachable_target_is_an_error() -> None:
    with pytest.raises(ConfigError, match="No noise multiplier"):
        replace(BRIEF, target_epsilon=1e-9).noise(64)


@pytest.mark.filterwarnings("ignore:The PRV accountant failed")
def test_a_step_is_the_mean_of_clipped_gradients() -> None:
    """By autograd, record by record; next to no noise, and every record in the one batch."""
    recipe = Recipe(optimizer="sgd", learning_rate=1.0, batch_size=len(TRAIN.x), epochs=1)
    defense = DPSGD(NETWORK, CLASSES, recipe, noise_multiplier=1e-9, max_grad_norm=2.5)
    still = replace(defense, recipe=replace(recipe, learning_rate=1e-30)).fit(TRAIN, VALIDATION)
    after = dict(defense.fit(TRAIN, VALIDATION).model.network.named_parameters())
    network = still.model.network
    clipped = {name: torch.zeros_like(each) for name, each in network.named_parameters()}
    norms = []
    for x, y in zip(TRAIN.x, TRAIN.y, strict=True):
        network.zero_grad()
        functional.cross_entropy(network(x[None]), y[None]).backward()
        gradients = {
            name: each.grad for name, each in network.named_parameters() if each.grad is not None
        }
        norms.append(torch.cat([each.flatten() for each in gradients.values()]).norm())
        for name, gradient in gradients.items():
            clipped[name] += gradient * min(1.0, 2.5 / float(norms[-1]))
    assert min(norms) < 2.5 < max(norms)
    for name, before in network.named_parameters():
        expected = before - clipped[name] / len(TRAIN.x)
        torch.testing.assert_close(after[name], expected, rtol=1e-4, atol=1e-6)


def test_steps_without_a_record_add_noise_alone() -> None:
    """Of 64 batches of one expected record about 24 are empty."""
    model = replace(BRIEF, recipe=replace(BRIEF.recipe, batch_size=1)).fit(TRAIN, VALIDATION)
    assert model.logits(TRAIN.x).isfinite().all()


WIDTH = TRAIN.x.shape[1]


class Twice(nn.Module):
    """A network that uses one layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.layer(self.layer(x)))
        return logits


class Beside(Twice):
    """A network that uses a weight beside its layer, so that no hook sees it."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(functional.linear(self.layer(x), 50 * self.layer.weight))
        return logits


def shared() -> nn.Sequential:
    """Return a stack of two layers with one weight."""
    stack = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH))
    stack[1].weight = stack[0].weight
    return stack


def test_only_plain_stacks_are_clipped_by_norms() -> None:
    networks: list[NetworkFactory] = [NETWORK, Twice, Beside, shared]
    assert [_is_plain(each()) for each in networks] == [True, False, False, False]


@pytest.mark.filterwarnings("ignore:The PRV accountant failed")
@pytest.mark.parametrize("network", [NETWORK, Twice, Beside, shared])
def test_no_network_moves_further_than_the_bound(network: NetworkFactory) -> None:
    """A step of rate 1 without noise is a mean of gradients of norm 0.01 at most."""
    recipe = Recipe(optimizer="sgd", learning_rate=1.0, batch_size=len(TRAIN.x), epochs=1)
    defense = DPSGD(network, CLASSES, recipe, noise_multiplier=1e-9, max_grad_norm=0.01)
    still = replace(defense, recipe=replace(recipe, learning_rate=1e-30))
    before, after = (
        torch.cat([each.flatten() for each in model.model.network.parameters()])
        for model in (still.fit(TRAIN, VALIDATION), defense.fit(TRAIN, VALIDATION))
    )
    assert 1e-4 < (after - before).norm() < 0.0101


def test_batch_norm_without_weights_is_refused() -> None:
    def network() -> nn.Sequential:
        norm = nn.BatchNorm1d(WIDTH, affine=False, track_running_stats=False)
        return nn.Sequential(norm, nn.Linear(WIDTH, CLASSES))

    with pytest.raises(ConfigError, match="cannot train a network with batch normalisation"):
        replace(BRIEF, network=network).fit(TRAIN, VALIDATION)


def test_large_delta_is_warned_of() -> None:
    with pytest.warns(AuditWarning, match="delta = 0.02 is not below 1 / 64"):
        replace(BRIEF, delta=0.02).fit(TRAIN, VALIDATION, seed=0)


def test_small_delta_is_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        replace(BRIEF, delta=0.01).fit(TRAIN, VALIDATION, seed=0)
