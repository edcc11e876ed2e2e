"""A training function and an augmentation of the user's own, in SELENA and in Split-AI."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from selena.defenses.dp_sgd import DPSGD
from selena.defenses.relaxloss import RelaxLoss
from selena.defenses.selena import Selena
from selena.defenses.split_ai import SplitAI
from selena.defenses.undefended import Undefended
from selena.errors import ConfigError, TrainingError
from selena.training.batches import as_input
from selena.training.recipe import Recipe
from selena.types import Records
from selena.workspace import Workspace
from tests.toys import CLASSES, NETWORK, RECIPE, toy_records

TRAIN, VALIDATION = toy_records(48), toy_records(24, seed=7, start=1000)
K, L = 4, 2


class Loop:
    """A loop that counts its calls, and stops at one of them."""

    def __init__(self, stop: int = -1) -> None:
        self.stop = stop
        self.seen: list[tuple[Records, Tensor | None]] = []

    def __call__(
        self, network_factory: Any, records: Records, soft_labels: Any, seed: int, device: str
    ) -> nn.Module:
        if len(self.seen) == self.stop:
            raise KeyboardInterrupt
        self.seen.append((records, soft_labels))
        return steps(network_factory, records, soft_labels)


def steps(network_factory: Any, records: Records, soft_labels: Any) -> nn.Module:
    """The library's loss by plain SGD; the global generators are seeded for it."""
    network: nn.Module = network_factory()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    target = records.y if soft_labels is None else soft_labels
    for _ in range(3):
        optimizer.zero_grad()
        cross_entropy(network(as_input(records.x)), target).backward()
        optimizer.step()
    return network


CALLS = Loop()


def own_loop(
    network_factory: Any, records: Records, soft_labels: Any, seed: int, device: str
) -> nn.Module:
    """A plain function, whose fingerprint is its code."""
    return CALLS(network_factory, records, soft_labels, seed, device)


OWN = Recipe(train=own_loop)


@pytest.fixture(autouse=True)
def forget() -> None:
    CALLS.__init__()  # type: ignore[misc]


def selena(recipe: Recipe = OWN) -> Selena:
    return Selena(NETWORK, CLASSES, recipe, recipe, n_submodels=K, n_nonmodels=L)


def test_each_sub_model_sees_its_own_records_only() -> None:
    model = SplitAI(NETWORK, CLASSES, OWN, n_submodels=K, n_nonmodels=L).fit(TRAIN, VALIDATION)
    assert len(CALLS.seen) == K
    for i, (records, soft) in enumerate(CALLS.seen):
        assert soft is None
        seen = torch.nonzero(~model.sets.without(i)).squeeze(1)
        assert torch.equal(records.x, TRAIN.x[seen])
        assert torch.equal(records.y, TRAIN.y[seen])


def test_the_student_learns_soft_labels_alone() -> None:
    selena().fit(TRAIN, VALIDATION)
    records, soft = CALLS.seen[K]
    assert soft is not None
    torch.testing.assert_close(soft.sum(dim=1), torch.ones(len(TRAIN)))
    # True labels would let a student learn them.
    assert torch.equal(records.y, soft.argmax(dim=1))
    assert not torch.equal(records.y, TRAIN.y)


def test_a_killed_own_training_resumes(tmp_path: Path) -> None:
    whole = selena().fit(TRAIN, VALIDATION).state()
    CALLS.__init__(stop=2)  # type: ignore[misc]
    with pytest.raises(KeyboardInterrupt):
        selena().fit(TRAIN, VALIDATION, workspace=Workspace(folder=tmp_path))
    CALLS.__init__()  # type: ignore[misc]
    again = selena().fit(TRAIN, VALIDATION, workspace=Workspace(folder=tmp_path)).state()
    assert len(CALLS.seen) == K + 1 - 2
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_own_training_depends_on_its_seed_alone() -> None:
    first, again = (Undefended(NETWORK, CLASSES, OWN).fit(TRAIN, VALIDATION) for _ in range(2))
    other = Undefended(NETWORK, CLASSES, OWN).fit(TRAIN, VALIDATION, seed=1)
    assert torch.equal(first.logits(TRAIN.x), again.logits(TRAIN.x))
    assert not torch.equal(first.logits(TRAIN.x), other.logits(TRAIN.x))


def returns_nothing(
    network_factory: Any, records: Any, soft_labels: Any, seed: int, device: str
) -> Any:
    return None


def returns_another(
    network_factory: Any, records: Any, soft_labels: Any, seed: int, device: str
) -> Any:
    return nn.Linear(2, 2)


def returns_nan(
    network_factory: Any, records: Any, soft_labels: Any, seed: int, device: str
) -> Any:
    network = network_factory()
    next(network.parameters()).data.fill_(float("nan"))
    return network


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (returns_nothing, "returned a NoneType"),
        (returns_another, "another architecture"),
        (returns_nan, "not finite"),
    ],
)
def test_what_is_no_trained_network_is_an_error(train: Any, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        Undefended(NETWORK, CLASSES, Recipe(train=train)).fit(TRAIN, VALIDATION)


def test_losses_and_selection_refuse_it() -> None:
    with pytest.raises(ConfigError, match="changes the loss"):
        RelaxLoss(NETWORK, CLASSES, OWN).fit(TRAIN, VALIDATION)
    with pytest.raises(ConfigError, match="no selection and no augmentation"):
        Recipe(train=own_loop, selection="validation")


def test_a_defense_with_its_own_loop_refuses_it() -> None:
    pytest.importorskip("opacus", reason="needs the extra `dp`")
    with pytest.raises(ConfigError, match="loop of its own"):
        DPSGD(NETWORK, CLASSES, OWN).fit(TRAIN, VALIDATION)


DRAWN: list[Tensor] = []


def noise(x: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(x.shape, generator=generator)
    DRAWN.append(drawn)
    return (x + 0.5 * drawn).to(x.dtype)


def too_few(x: Tensor, generator: torch.Generator) -> Tensor:
    return x[:1]


def test_an_own_augmentation_draws_by_epoch_and_step() -> None:
    DRAWN.clear()
    recipe = replace(RECIPE, epochs=2, augmentation=noise)
    models = [SplitAI(NETWORK, CLASSES, recipe, n_submodels=K, n_nonmodels=L) for _ in range(2)]
    first = models[0].fit(TRAIN, VALIDATION)
    once = list(DRAWN)
    assert len({each.flatten()[0].item() for each in once}) == len(once) > K
    again = models[1].fit(TRAIN, VALIDATION)
    assert torch.equal(first.logits(TRAIN.x), again.logits(TRAIN.x))
    plain = SplitAI(NETWORK, CLASSES, replace(recipe, augmentation="none"), n_submodels=K,
                    n_nonmodels=L).fit(TRAIN, VALIDATION)  # fmt: skip
    assert not torch.equal(first.logits(TRAIN.x), plain.logits(TRAIN.x))


def test_an_augmentation_must_keep_the_shape() -> None:
    recipe = replace(RECIPE, epochs=1, augmentation=too_few)
    with pytest.raises(TrainingError, match="returned a batch of shape"):
        Undefended(NETWORK, CLASSES, recipe).fit(TRAIN, VALIDATION)
