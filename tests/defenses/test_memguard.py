"""MemGuard: what a filter must never change, and what its noise must do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from selena.defenses.memguard import MemGuard, MemGuardModel
from selena.defenses.memguard_noise import NoiseSearch
from selena.defenses.undefended import Undefended
from selena.errors import ConfigError, DataError, StoreError
from selena.training.recipe import Recipe
from tests.defenses.plain_memguard import inference_network
from tests.toys import CLASSES, NETWORK, RECIPE, toy_records

SEARCH = NoiseSearch(most_steps=20)
FILTER = Recipe(epochs=5, batch_size=16, loss="binary_cross_entropy", precision="float32")
MEMGUARD = MemGuard(Undefended(NETWORK, CLASSES, RECIPE), inference=FILTER, search=SEARCH)
TRAIN, VALIDATION = toy_records(80), toy_records(60, seed=7, start=1000)


class Table:
    """A target model that answers with what it is asked."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def logits(self, x: Tensor) -> Tensor:
        return x.float()

    def state(self) -> dict[str, Tensor]:
        return {}


def guard(
    classes: int, *, seed: int = 0, budget: float | None = None, key: int = 5
) -> MemGuardModel:
    return MemGuardModel(Table(classes), inference_network(classes, seed), SEARCH, budget, key)


@settings(max_examples=40)
@given(
    classes=st.integers(2, 7),
    seed=st.integers(0, 100),
    scale=st.sampled_from([0.0, 1e-6, 1.0, 10.0, 60.0]),
    budget=st.sampled_from([None, 0.1]),
)
def test_the_predicted_class_never_changes(
    classes: int, seed: int, scale: float, budget: float | None
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(12, classes, generator=generator)
    logits[0, :2] = logits[0].max()  # a tie on top
    logits[1, 1:] = -torch.inf  # a certainty
    answer = guard(classes, seed=seed % 3, budget=budget).logits(logits)
    assert torch.equal(answer.argmax(dim=1), logits.argmax(dim=1))
    torch.testing.assert_close(answer.exp().sum(dim=1), torch.ones(12))
    assert not bool(answer.isnan().any())


def test_classes_are_put_back_to_their_places() -> None:
    logits = 2 * torch.randn(50, 6, generator=torch.Generator().manual_seed(2))
    permutation = torch.tensor([3, 0, 5, 1, 4, 2])
    answer = guard(6).logits(logits)
    assert bool((answer != logits.log_softmax(dim=1)).any())
    torch.testing.assert_close(guard(6).logits(logits[:, permutation]), answer[:, permutation])


def test_noise_leaves_the_inference_network_undecided() -> None:
    recipe = replace(FILTER, epochs=30, learning_rate=0.01)
    model = replace(MEMGUARD, inference=recipe).fit(TRAIN, VALIDATION, seed=0)
    before, after = (
        model.inference(logits.softmax(dim=1).sort(dim=1).values).abs().detach()
        for logits in (model.target.logits(TRAIN.x), model.logits(TRAIN.x))
    )
    assert float(after.median()) < 0.5 * float(before.median())


@pytest.mark.deep
def test_stuck_network_is_retrained_with_less_decay(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stiff = replace(FILTER, epochs=30, learning_rate=0.01, weight_decay=10.0)

    def found(weaker: tuple[float, ...]) -> float:
        defense = replace(MEMGUARD, inference=stiff, weaker_decays=weaker)
        model = defense.fit(TRAIN, VALIDATION, seed=0)
        changed = model.logits(TRAIN.x) - model.target.logits(TRAIN.x).log_softmax(dim=1)
        return float((changed.abs() > 1e-3).any(dim=1).double().mean())

    assert found((1.0, 0.0)) > 0.5
    assert not caplog.records
    assert found(()) < 0.1
    assert "MemGuard finds noise for only 0 %" in caplog.text


def test_labels_are_the_targets_own() -> None:
    model = MEMGUARD.fit(TRAIN, VALIDATION, seed=0)
    expected = model.target.logits(VALIDATION.x).argmax(dim=1)
    assert model.labels_of is model.target
    assert torch.equal(model.logits(VALIDATION.x).argmax(dim=1), expected)


def test_the_budget_bounds_the_expected_distortion() -> None:
    logits = 2 * torch.randn(3000, 5, generator=torch.Generator().manual_seed(3))
    plain = logits.softmax(dim=1)

    def distortion(model: MemGuardModel) -> Tensor:
        return (model.logits(logits).exp() - plain).abs().sum(dim=1)

    always, bound = distortion(guard(5)), 0.05
    assert float(always.mean()) > 2 * bound
    used = distortion(guard(5, budget=bound))
    # Each noise with probability min(1, bound / its length), by the key: nothing in between.
    near = (used - always).abs() < 1e-6
    assert bool((near | (used < 1e-5)).all())
    expected = always.clamp_max(bound)
    deviation = (always * expected - expected**2).clamp_min(0).sum().sqrt() / len(logits)
    assert abs(float(used.mean() - expected.mean())) < 5 * float(deviation)
    other_key = distortion(guard(5, budget=bound, key=6))
    assert not torch.equal(used, other_key)
    torch.testing.assert_close(distortion(guard(5, budget=2.1)), always)


def test_each_record_is_answered_by_its_content() -> None:
    model = replace(MEMGUARD, budget=0.05).fit(TRAIN, VALIDATION, seed=0)
    answers = model.logits(TRAIN.x)
    backwards = model.logits(TRAIN.x.flip(0)).flip(0)
    torch.testing.assert_close(answers, backwards, rtol=0, atol=1e-3)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="budget is 0"):
        replace(MEMGUARD, budget=0.0)
    with pytest.raises(ConfigError, match="binary"):
        replace(MEMGUARD, inference=RECIPE)
    with pytest.raises(ConfigError, match="c3_factor is 1"):
        NoiseSearch(c3_factor=1.0)
    with pytest.raises(ConfigError, match="above 0"):
        NoiseSearch(step=0.0)
    with pytest.raises(DataError, match="reference records: there are no records"):
        MEMGUARD.fit(TRAIN, VALIDATION.take(torch.arange(0)), seed=0)
    with pytest.raises(StoreError, match="not the state of MemGuard"):
        MEMGUARD.restore({"weight": torch.zeros(1)})
