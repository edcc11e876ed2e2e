"""Adversarial regularization: the two players' schedule and what each step does."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from selena.defenses import adversarial_regularization
from selena.defenses.adversarial_regularization import AdversarialRegularization
from selena.defenses.undefended import Undefended
from selena.errors import ConfigError, DataError, TrainingError
from selena.networks.mlp import MLP
from selena.seeding import torch_generator
from selena.training.model import NetworkModel
from selena.training.recipe import Recipe
from selena.types import Records
from selena.workspace import Workspace
from tests.toys import CLASSES, NETWORK, RECIPE, toy_records

TRAIN, REFERENCES = toy_records(100), toy_records(70, seed=7, start=1000)
ATTACK = Recipe(learning_rate=1e-3, precision="float32")
ADVREG = AdversarialRegularization(
    NETWORK,
    CLASSES,
    RECIPE,
    alpha=2.0,
    warm_up_epochs=1,
    attack_passes=2,
    attack_batches=3,
    attack_recipe=ATTACK,
)


@pytest.fixture
def small_adversary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for the three towers, which take long to train and to leave where they start."""

    def small(observed: int, num_classes: int) -> Callable[[], nn.Module]:
        width = observed + num_classes
        return lambda: nn.Sequential(
            nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid()
        )

    monkeypatch.setattr(adversarial_regularization, "MembershipNetwork", small)


def weights(model: NetworkModel) -> torch.Tensor:
    return torch.cat([t.flatten() for t in model.state().values()])


@pytest.mark.usefixtures("small_adversary")
def test_no_ordinary_epoch_is_selected() -> None:
    """The first epochs are right most often where references are mislabeled; none is taken."""
    misled = Records(REFERENCES.x, (REFERENCES.y + 1) % CLASSES, REFERENCES.ids)
    ordinary = replace(ADVREG, warm_up_epochs=RECIPE.epochs)
    selecting = replace(ordinary, recipe=replace(RECIPE, selection="validation"))
    last, selected = (d.fit(TRAIN, misled, seed=0) for d in (ordinary, selecting))
    assert torch.equal(weights(last), weights(selected))
    first = replace(selecting, warm_up_epochs=0).fit(TRAIN, misled, seed=0)
    played = replace(ordinary, warm_up_epochs=0).fit(TRAIN, misled, seed=0)
    assert not torch.equal(weights(first), weights(played))


@pytest.mark.usefixtures("small_adversary")
def test_the_schedule_is_the_one_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    game = adversarial_regularization._Game
    attack_step, classifier_step = game._attack_step, game._classifier_step

    def attack(self: object, members: torch.Tensor, references: torch.Tensor) -> None:
        told.append("a")
        attack_step(self, members, references)  # type: ignore[arg-type]

    def classify(self: object, rows: torch.Tensor, *, private: bool) -> torch.Tensor:
        told.append("P" if private else "C")
        return classifier_step(self, rows, private=private)  # type: ignore[arg-type]

    monkeypatch.setattr(game, "_attack_step", attack)
    monkeypatch.setattr(game, "_classifier_step", classify)
    ADVREG.fit(TRAIN, REFERENCES, seed=0)
    steps = 7  # 100 records, 16 a batch
    assert "".join(told) == "C" * steps + "a" * (2 * steps) + "aaaP" * (2 * steps)


def test_adversary_weighs_both_sides_equally() -> None:
    game = adversarial_regularization._Game(ADVREG, TRAIN, REFERENCES, 0, Workspace())
    adversary, draws = game._inference, torch_generator(0, "adversary")
    for weight in adversary.parameters():
        if weight.ndim == 2:
            nn.init.kaiming_normal_(
                weight, generator=draws
            )  # its own first weights let next to nothing through
    plain = deepcopy(adversary)
    sides = ((TRAIN, torch.arange(16), 1.0), (REFERENCES, torch.arange(3), 0.0))
    loss = torch.zeros(())
    for records, rows, truth in sides:
        part = records.take(rows)
        with torch.no_grad():
            seen = game._loop.network.eval()(part.x).softmax(dim=1)
        label = torch.nn.functional.one_hot(part.y, CLASSES).float()
        guesses = plain(torch.cat([seen, label], dim=1)).squeeze(1)
        loss = loss + ((guesses - truth) ** 2).mean() / 2
    loss.backward()
    game._attack_step(sides[0][1], sides[1][1])
    for entry, weight in zip(game._attack.state, plain.parameters(), strict=True):
        assert weight.grad is not None
        assert float(weight.grad.abs().max()) > 1e-6
        # Adam's first mean is a tenth of the gradient.
        torch.testing.assert_close(10 * entry["exp_avg"], weight.grad, rtol=1e-3, atol=1e-7)


def test_in_its_warm_up_it_is_the_undefended_model() -> None:
    only_warm_up = replace(ADVREG, warm_up_epochs=RECIPE.epochs)
    plain = Undefended(NETWORK, CLASSES, RECIPE).fit(TRAIN, REFERENCES, seed=5)
    assert torch.equal(weights(only_warm_up.fit(TRAIN, REFERENCES, seed=5)), weights(plain))


def test_without_weight_the_adversary_changes_nothing() -> None:
    plain = Undefended(NETWORK, CLASSES, RECIPE).fit(TRAIN, REFERENCES, seed=5)
    no_weight = replace(ADVREG, alpha=0.0).fit(TRAIN, REFERENCES, seed=5)
    torch.testing.assert_close(weights(no_weight), weights(plain))


@pytest.mark.deep
@pytest.mark.usefixtures("small_adversary")
def test_gap_between_members_and_references_closes() -> None:
    # Labels that cannot be predicted: whatever is right on members is memory.
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 12, generator=generator)
    y = torch.randint(CLASSES, (200,), generator=generator)
    members, references = (
        Records(x[rows], y[rows], torch.arange(200)[rows])
        for rows in (slice(0, 100), slice(100, 200))
    )
    recipe = replace(RECIPE, epochs=40)
    network = MLP(12, CLASSES, hidden=(64,))
    plain = Undefended(network, CLASSES, recipe)
    private = AdversarialRegularization(
        network, CLASSES, recipe, alpha=3.0, attack_batches=3, attack_recipe=ATTACK
    )

    def gap(defense: Undefended | AdversarialRegularization) -> float:
        model = defense.fit(members, references, seed=1)
        of_label = [
            model.logits(r.x).softmax(dim=1).gather(1, r.y[:, None]).mean()
            for r in (members, references)
        ]
        return float(of_label[0] - of_label[1])

    assert gap(private) < 0.8 * gap(plain)


@pytest.mark.usefixtures("small_adversary")
def test_killed_in_the_game_it_ends_as_if_undisturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = ADVREG.fit(TRAIN, REFERENCES, seed=2)
    workspace = Workspace(folder=tmp_path, checkpoint_seconds=0)
    game = adversarial_regularization._Game
    epoch = game._epoch

    def die(self: object, number: int) -> None:
        if number == 2:
            raise KeyboardInterrupt
        epoch(self, number)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(game, "_epoch", die)
        with pytest.raises(KeyboardInterrupt):
            ADVREG.fit(TRAIN, REFERENCES, seed=2, workspace=workspace)
    resumed = ADVREG.fit(TRAIN, REFERENCES, seed=2, workspace=workspace)
    assert torch.equal(weights(resumed), weights(undisturbed))


@pytest.mark.usefixtures("small_adversary")
def test_it_selects_on_validation_and_computes_in_bf16() -> None:
    recipe = replace(RECIPE, selection="validation", precision="bfloat16")
    bf16 = replace(ADVREG, recipe=recipe, attack_recipe=replace(ATTACK, precision="bfloat16"))
    model = bf16.fit(TRAIN, REFERENCES, seed=0)
    assert all(t.dtype == torch.float32 for t in model.state().values())
    right = model.logits(REFERENCES.x).argmax(dim=1) == REFERENCES.y
    assert float(right.float().mean()) > 0.4


@pytest.mark.usefixtures("small_adversary")
def test_images_are_augmented() -> None:
    def images(start: int) -> Records:
        generator = torch.Generator().manual_seed(start)
        x = torch.randint(256, (24, 1, 6, 6), generator=generator, dtype=torch.uint8)
        return Records(x, torch.arange(24) % CLASSES, torch.arange(24) + start)

    plain = replace(ADVREG, network=MLP(36, CLASSES, hidden=(8,)))
    cropped = replace(plain, recipe=replace(RECIPE, augmentation="crop_flip"))
    models = [d.fit(images(0), images(100), seed=0) for d in (plain, cropped, cropped)]
    assert not torch.equal(weights(models[0]), weights(models[1]))
    assert torch.equal(weights(models[1]), weights(models[2]))


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="alpha is -1"):
        replace(ADVREG, alpha=-1.0)
    with pytest.raises(ConfigError, match=">= 0"):
        replace(ADVREG, attack_batches=-1)
    with pytest.raises(ConfigError, match="cross_entropy"):
        replace(ADVREG, recipe=replace(RECIPE, loss="mse"))
    with pytest.raises(DataError, match="reference records"):
        ADVREG.fit(TRAIN, REFERENCES.take(torch.arange(0)), seed=0)
    bits = toy_records(20, bits=True)
    with pytest.raises(DataError, match="features disagree"):
        ADVREG.fit(TRAIN, bits, seed=0)
    wild = replace(ADVREG, recipe=replace(RECIPE, optimizer="sgd", learning_rate=1e38))
    with pytest.raises(TrainingError, match="not finite"):
        wild.fit(TRAIN, REFERENCES, seed=0)
