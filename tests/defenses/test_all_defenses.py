"""One table of cases that every defense must pass."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from selena.defenses.adversarial_regularization import AdversarialRegularization
from selena.defenses.convex_concave_loss import ConvexConcaveLoss
from selena.defenses.distillation import Distillation
from selena.defenses.dmp import DMP
from selena.defenses.dp_sgd import DPSGD
from selena.defenses.dropout_l2 import DropoutL2
from selena.defenses.dyna_noise import DynaNoise
from selena.defenses.early_stopping import EarlyStopping
from selena.defenses.hamp import HAMP
from selena.defenses.label_smoothing import LabelSmoothing
from selena.defenses.memguard import MemGuard
from selena.defenses.memguard_noise import NoiseSearch
from selena.defenses.mist import MIST
from selena.defenses.mixup_mmd import MixupMMD
from selena.defenses.output_filters import TopK
from selena.defenses.pate import PATE
from selena.defenses.relaxloss import RelaxLoss
from selena.defenses.selena import Selena
from selena.defenses.split_ai import SplitAI
from selena.defenses.undefended import Undefended
from selena.errors import DataError
from selena.registry import DEFENSES, build_defense
from selena.training.plans import Plan
from selena.training.recipe import Recipe
from selena.types import Defense, FilterModel, Records, StoredModel
from selena.workspace import Workspace
from tests.test_registry import dataset
from tests.toys import CLASSES, NETWORK, RECIPE, toy_records

TRAIN = toy_records(120)
VALIDATION = toy_records(60, seed=7, start=1000)
TEST = toy_records(200, seed=8, start=2000)
BASE = (NETWORK, CLASSES, RECIPE)
FILTER = Recipe(epochs=2, batch_size=32, loss="binary_cross_entropy", precision="float32")
SHORT = replace(RECIPE, learning_rate=1e-3)
SEARCH = NoiseSearch(most_steps=20)

needs_opacus = pytest.mark.skipif(find_spec("opacus") is None, reason="needs the extra `dp`")
CASES: dict[str, Defense] = {
    "undefended": Undefended(*BASE),
    "split_ai": SplitAI(*BASE, n_submodels=4, n_nonmodels=2),
    "selena": Selena(*BASE, RECIPE, n_submodels=4, n_nonmodels=2),
    "memguard": MemGuard(Undefended(*BASE), inference=FILTER, search=SEARCH),
    "memguard of a budget": MemGuard(
        Undefended(*BASE), inference=FILTER, search=SEARCH, budget=0.1
    ),
    "adversarial_regularization": AdversarialRegularization(
        *BASE, alpha=1, attack_passes=1, attack_batches=1, attack_recipe=SHORT
    ),
    "early_stopping": EarlyStopping(*BASE, epoch=2),
    "early_stopping on validation": EarlyStopping(*BASE),
    "label_smoothing": LabelSmoothing(*BASE),
    "dropout_l2": DropoutL2(*BASE),
    "mixup_mmd": MixupMMD(*BASE),
    "relaxloss": RelaxLoss(*BASE),
    "hamp": HAMP(*BASE, decoys=20),
    "convex_concave_loss": ConvexConcaveLoss(*BASE),
    "mist": MIST(*BASE, n_copies=2),
    "dyna_noise": DynaNoise(Undefended(*BASE)),
    "distillation": Distillation(*BASE, RECIPE),
    "dmp": DMP(*BASE, RECIPE),
    "pate": PATE(*BASE, RECIPE, n_teachers=3, noise_scale=0.5),
    "labels only": TopK(Undefended(*BASE), k=0),
    "top 2": TopK(Undefended(*BASE), k=2),
    "dp_sgd": DPSGD(*BASE, noise_multiplier=0.5),
}
OFF: dict[str, Defense] = {
    "convex_concave_loss": ConvexConcaveLoss(*BASE, alpha=1.0),
    "dropout_l2": DropoutL2(*BASE, dropout=0.0, weight_decay=0.0),
    "dyna_noise": DynaNoise(Undefended(*BASE), base_variance=0.0, temperature=1.0),
    "label_smoothing": LabelSmoothing(*BASE, smoothing=0.0),
    "relaxloss": RelaxLoss(*BASE, alpha=0.0),
    "top 4": TopK(Undefended(*BASE), k=CLASSES),
}
every_defense = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[needs_opacus] if n == "dp_sgd" else []) for n in CASES]
)


@pytest.mark.parametrize("name", DEFENSES)
def test_every_registered_defense_has_a_case(name: str) -> None:
    registered = build_defense(name, Plan(hidden=(4,)), dataset("binary"))
    assert type(registered) in {type(case) for case in CASES.values()}


@cache
def fitted(name: str) -> StoredModel:
    return CASES[name].fit(TRAIN, VALIDATION, seed=3)


def assert_same_state(a: StoredModel, b: StoredModel) -> None:
    assert a.state().keys() == b.state().keys()
    for key, tensor in a.state().items():
        assert torch.equal(tensor, b.state()[key]), key


@every_defense
def test_predictions_are_distributions_above_chance(name: str) -> None:
    model = fitted(name)
    assert model.num_classes == CLASSES
    logits = model.logits(TEST.x)
    assert (logits.shape, logits.dtype) == ((200, CLASSES), torch.float32)
    p = logits.softmax(dim=1)
    torch.testing.assert_close(p.sum(dim=1), torch.ones(200))
    right = (p.argmax(dim=1) == TEST.y).float().mean()
    assert float(right) > 0.45  # chance is 0.25; six standard deviations are 0.18
    torch.testing.assert_close(model.logits(TEST.x[5:6]), logits[5:6])


@pytest.mark.parametrize("name", OFF)
def test_switched_off_equals_undefended(name: str) -> None:
    plain = fitted("undefended").logits(TEST.x).softmax(dim=1)
    off = OFF[name].fit(TRAIN, VALIDATION, seed=3).logits(TEST.x).softmax(dim=1)
    # Another loss may round otherwise in training, which Adam enlarges; other layers in answers.
    bound = 1e-4 if name in ("convex_concave_loss", "label_smoothing", "relaxloss") else 1e-6
    torch.testing.assert_close(off, plain, rtol=0, atol=bound)


def test_filters_never_change_a_label() -> None:
    usable = CASES.keys() - ({"dp_sgd"} if find_spec("opacus") is None else set())
    filters = {name: m for name in sorted(usable) if isinstance(m := fitted(name), FilterModel)}
    assert {"memguard", "hamp", "labels only", "top 2"} <= filters.keys()
    for name, model in filters.items():
        behind = model.labels_of.logits(TEST.x)
        assert torch.equal(model.logits(TEST.x).argmax(dim=1), behind.argmax(dim=1)), name
        assert not torch.equal(model.logits(TEST.x), behind), name


@pytest.mark.parametrize(
    ("one", "other"),
    [("labels only", "top 2"), ("memguard", "memguard of a budget")],
)
def test_states_tell_filters_of_one_model_apart(one: str, other: str) -> None:
    """Kept scores are found by the state; it holds what the answers depend on."""
    a, b = fitted(one).state(), fitted(other).state()
    assert a.keys() == b.keys()
    different = {key for key, tensor in a.items() if not torch.equal(tensor, b[key])}
    assert different in ({"k"}, {"settings"})


@every_defense
def test_same_seed_same_model_and_other_seed_another(name: str) -> None:
    again = CASES[name].fit(TRAIN, VALIDATION, seed=3)
    assert_same_state(fitted(name), again)
    other = CASES[name].fit(TRAIN, VALIDATION, seed=4).state()
    assert any(not torch.equal(t, other[key]) for key, t in fitted(name).state().items())


@pytest.mark.parametrize(
    "name",
    [
        "undefended",
        "split_ai",
        "adversarial_regularization",
        "early_stopping",
        pytest.param("dp_sgd", marks=needs_opacus),
    ],
)
def test_artifact_of_other_validation_is_not_found(name: str, tmp_path: Path) -> None:
    """Each of these names its pieces itself; the others train by them."""
    defense: Any = CASES[name]
    defense = replace(defense, recipe=replace(RECIPE, selection="validation"))
    workspace = Workspace(folder=tmp_path)
    misled = Records(VALIDATION.x, (VALIDATION.y + 1) % CLASSES, VALIDATION.ids)
    defense.fit(TRAIN, misled, seed=3, workspace=workspace)
    found = defense.fit(TRAIN, VALIDATION, seed=3, workspace=workspace)
    assert_same_state(found, defense.fit(TRAIN, VALIDATION, seed=3))


@every_defense
def test_restored_it_answers_alike(name: str) -> None:
    state = {key: tensor.clone() for key, tensor in fitted(name).state().items()}
    restored = CASES[name].restore(state)
    assert torch.equal(restored.logits(TEST.x), fitted(name).logits(TEST.x))
    assert_same_state(restored, fitted(name))


@every_defense
def test_bad_records_are_refused(name: str) -> None:
    nan = TRAIN.x.clone()
    nan[7, 2] = torch.nan
    beyond = TRAIN.y.clone()
    beyond[3] = CLASSES
    bad = {
        "NaN": Records(nan, TRAIN.y, TRAIN.ids),
        "label 4": Records(TRAIN.x, beyond, TRAIN.ids),
        "no records": TRAIN.take(torch.arange(0)),
    }
    for words, train in bad.items():
        with pytest.raises(DataError, match=words):
            CASES[name].fit(train, VALIDATION, seed=0)


@every_defense
def test_kill_at_the_last_epoch_changes_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every epoch writes a checkpoint; the process dies when the first network is finished."""
    workspace = Workspace(folder=tmp_path, checkpoint_seconds=0)
    with monkeypatch.context() as patch:
        patch.setattr("selena.training.network_state.NetworkState.finish", _die)
        with pytest.raises(KeyboardInterrupt):
            CASES[name].fit(TRAIN, VALIDATION, seed=3, workspace=workspace)
    assert any("checkpoint" in path.name for path in tmp_path.iterdir())
    resumed = CASES[name].fit(TRAIN, VALIDATION, seed=3, workspace=workspace)
    assert_same_state(resumed, fitted(name))
    kept = {path.name for path in tmp_path.iterdir()}
    found = CASES[name].fit(TRAIN, VALIDATION, seed=3, workspace=workspace)
    assert_same_state(found, fitted(name))
    assert {path.name for path in tmp_path.iterdir()} == kept
    assert not any("checkpoint" in file for file in kept)


def _die(_lane: Any) -> None:
    raise KeyboardInterrupt
