"""Three literal tables: data sets, defenses and attacks by name.

A new defense or attack is one file and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from selena.attacks.adaptive import ShadowDistanceAttack, ShadowNeuralAttack
from selena.attacks.augmentation import AugmentationAttack
from selena.attacks.boundary import BoundaryDistanceAttack
from selena.attacks.flip_noise import FlipNoiseAttack
from selena.attacks.gaussian_noise import GaussianNoiseAttack
from selena.attacks.hopskipjump import HopSkipJumpAttack
from selena.attacks.indirect import IndirectQueryAttack, Kind
from selena.attacks.neural import NeuralAttack
from selena.attacks.reference_model import ReferenceModelAttack
from selena.attacks.threshold import ThresholdAttack
from selena.config import override
from selena.data.load import DATASETS
from selena.defenses.adversarial_regularization import AdversarialRegularization
from selena.defenses.distillation import Distillation
from selena.defenses.dp_sgd import DPSGD
from selena.defenses.dropout_l2 import DropoutL2
from selena.defenses.early_stopping import EarlyStopping
from selena.defenses.hamp import HAMP
from selena.defenses.label_smoothing import LabelSmoothing
from selena.defenses.memguard import MemGuard
from selena.defenses.mixup_mmd import MixupMMD
from selena.defenses.output_filters import TopK
from selena.defenses.relaxloss import RelaxLoss
from selena.defenses.selena import Selena
from selena.defenses.split_ai import SplitAI
from selena.defenses.undefended import Undefended
from selena.errors import ConfigError, unknown_name
from selena.networks import NetworkFactory
from selena.signals import SignalName
from selena.training.plans import Plan
from selena.training.recipe import Recipe
from selena.types import Attack, Dataset, Defense, Family, FeatureKind

__all__ = [
    "ATTACKS",
    "DATASETS",
    "DEFENSES",
    "FAMILIES",
    "build_attacks",
    "build_defense",
    "prediction_attacks",
]

Changes = Mapping[str, Any]
"""Hyperparameters by name, nested as in the dataclass they change."""

# The perturbation that makes a record's near neighbor.
_NEIGHBORS: dict[FeatureKind, Kind] = {"binary": "flip", "continuous": "noise", "image": "shift"}


def _basics(plan: Plan, data: Dataset) -> tuple[NetworkFactory, int, Recipe]:
    return plan.network(data), data.num_classes, plan.training


def _split_ai(plan: Plan, data: Dataset) -> SplitAI:
    return SplitAI(*_basics(plan, data), n_submodels=plan.n_submodels, n_nonmodels=plan.n_nonmodels)


def _shadow(plan: Plan, data: Dataset) -> SplitAI:
    epochs = plan.shadow_epochs or plan.training.epochs
    return _split_ai(replace(plan, training=replace(plan.training, epochs=epochs)), data)


def _adversarial_regularization(plan: Plan, data: Dataset) -> AdversarialRegularization:
    network, num_classes, recipe = _basics(plan, data)
    game = plan.adversary
    return AdversarialRegularization(
        network,
        num_classes,
        replace(recipe, learning_rate=game.learning_rate),
        alpha=game.alpha,
        warm_up_epochs=game.warm_up_epochs,
        attack_batches=game.attack_batches,
        attack_recipe=Recipe(batch_size=recipe.batch_size, learning_rate=game.attack_learning_rate),
    )


def _neural(plan: Plan) -> NeuralAttack:
    return NeuralAttack(batch_size=plan.training.batch_size)


def _flips(data: Dataset) -> tuple[int, ...]:
    """Return the paper's range: to 30 of Purchase100's 600 bits, to 100 of Texas100's 6,169."""
    bits = data.records.x[0].numel()
    return tuple(range(1, (100 if bits > 1000 else min(30, bits)) + 1))


def _box(data: Dataset) -> tuple[float, float]:
    """Return the range in which a record may be moved: pixels in [0, 1], others as they occur."""
    if data.features == "image":
        return 0.0, 1.0
    return float(data.records.x.min()), float(data.records.x.max())


def _boundary(data: Dataset) -> BoundaryDistanceAttack:
    low, high = _box(data)
    return BoundaryDistanceAttack(low=low, high=high)


def _hopskipjump(data: Dataset) -> HopSkipJumpAttack:
    low, high = _box(data)
    return HopSkipJumpAttack(low=low, high=high)


DEFENSES: dict[str, Callable[[Plan, Dataset], Defense]] = {
    "undefended": lambda plan, data: Undefended(*_basics(plan, data)),
    "split_ai": _split_ai,
    "selena": lambda plan, data: Selena(
        *_basics(plan, data),
        plan.distillation,
        n_submodels=plan.n_submodels,
        n_nonmodels=plan.n_nonmodels,
    ),
    "memguard": lambda plan, data: MemGuard(Undefended(*_basics(plan, data))),
    "adversarial_regularization": _adversarial_regularization,
    "early_stopping": lambda plan, data: EarlyStopping(*_basics(plan, data)),
    "dp_sgd": lambda plan, data: DPSGD(*_basics(plan, data)),
    "label_smoothing": lambda plan, data: LabelSmoothing(*_basics(plan, data)),
    "dropout_l2": lambda plan, data: DropoutL2(*_basics(plan, data)),
    "mixup_mmd": lambda plan, data: MixupMMD(*_basics(plan, data)),
    "relaxloss": lambda plan, data: RelaxLoss(*_basics(plan, data)),
    "hamp": lambda plan, data: HAMP(*_basics(plan, data)),
    "distillation": lambda plan, data: Distillation(*_basics(plan, data), plan.distillation),
    "top_k": lambda plan, data: TopK(Undefended(*_basics(plan, data))),
    "label_output": lambda plan, data: TopK(Undefended(*_basics(plan, data)), k=0),
}


@dataclass(frozen=True)
class AttackEntry:
    """How an attack is built, and for whom.

    Attributes:
        family: the family it is listed under.
        build: makes the attack for a plan and a data set.
        features: the kinds of features it knows how to change, or all of them.
        in_family: whether the family's name stands for it too; attacks that take very long or
            need gradients are run when they are named.
    """

    family: Family
    build: Callable[[Plan, Dataset], Attack]
    features: tuple[FeatureKind, ...] = get_args(FeatureKind)
    in_family: bool = True


ATTACKS: dict[str, AttackEntry] = {
    "correctness": AttackEntry("direct", lambda plan, data: ThresholdAttack("correctness")),
    "confidence": AttackEntry("direct", lambda plan, data: ThresholdAttack("confidence")),
    "entropy": AttackEntry("direct", lambda plan, data: ThresholdAttack("entropy")),
    "modified_entropy": AttackEntry(
        "direct", lambda plan, data: ThresholdAttack("modified_entropy")
    ),
    "neural": AttackEntry("direct", lambda plan, data: _neural(plan)),
    "flip_noise": AttackEntry(
        "label-only", lambda plan, data: FlipNoiseAttack(_flips(data)), ("binary",)
    ),
    "gaussian_noise": AttackEntry(
        "label-only", lambda plan, data: GaussianNoiseAttack(), ("continuous", "image")
    ),
    "augmentation": AttackEntry("label-only", lambda plan, data: AugmentationAttack(), ("image",)),
    "augmentation_classifier": AttackEntry(
        "label-only", lambda plan, data: AugmentationAttack("classifier"), ("image",)
    ),
    "boundary": AttackEntry(
        "label-only",
        lambda plan, data: _boundary(data),
        ("continuous", "image"),
        in_family=False,
    ),
    "hopskipjump": AttackEntry(
        "label-only",
        lambda plan, data: _hopskipjump(data),
        ("continuous", "image"),
        in_family=False,
    ),
    "shadow_cross_entropy": AttackEntry(
        "adaptive", lambda plan, data: ShadowDistanceAttack(_shadow(plan, data), "cross_entropy")
    ),
    "shadow_squared_l2": AttackEntry(
        "adaptive", lambda plan, data: ShadowDistanceAttack(_shadow(plan, data), "squared_l2")
    ),
    "shadow_neural_difference": AttackEntry(
        "adaptive",
        lambda plan, data: ShadowNeuralAttack(_shadow(plan, data), "difference", _neural(plan)),
    ),
    "shadow_neural_both": AttackEntry(
        "adaptive",
        lambda plan, data: ShadowNeuralAttack(_shadow(plan, data), "both", _neural(plan)),
    ),
    "indirect_confidence": AttackEntry(
        "adaptive",
        lambda plan, data: IndirectQueryAttack(_NEIGHBORS[data.features], signal="confidence"),
    ),
    "indirect_modified_entropy": AttackEntry(
        "adaptive",
        lambda plan, data: IndirectQueryAttack(
            _NEIGHBORS[data.features], signal="modified_entropy"
        ),
    ),
    "lira": AttackEntry(
        "reference-model",
        lambda plan, data: ReferenceModelAttack(Undefended(*_basics(plan, data)), "lira"),
    ),
    "rmia": AttackEntry(
        "reference-model",
        lambda plan, data: ReferenceModelAttack(Undefended(*_basics(plan, data)), "rmia"),
    ),
}

# The paper chooses the number of flips on the records that are scored. By this name every number
# is an attack of its own, and the report's `strongest_on_evaluation` makes that choice, flagged.
EVERY_FLIP = "flip_noise_each"

FAMILIES: tuple[Family, ...] = get_args(Family)


def build_defense(
    name: str, plan: Plan, dataset: Dataset, settings: Mapping[str, Changes] | None = None
) -> Defense:
    """Return the defense called `name`, set up by `plan` for `dataset`.

    `settings` holds changes to its hyperparameters under its name.
    """
    if name not in DEFENSES:
        raise unknown_name("defense", name, DEFENSES)
    changes = _checked(settings, "defense", DEFENSES)
    # Those of others too: a wrong setting is an error wherever it stands.
    built = {
        each: override(DEFENSES[each](plan, dataset), change, f"defense_settings.{each}.")
        for each, change in {name: {}, **changes}.items()
    }
    return built[name]


def build_attacks(
    names: Iterable[str],
    plan: Plan,
    dataset: Dataset,
    settings: Mapping[str, Changes] | None = None,
    defense: Defense | None = None,
) -> list[Attack]:
    """Return the attacks called `names`.

    A family's name stands for those of its attacks that suit the data set's features. `settings`
    holds changes to hyperparameters under the names of attacks. Attacks that repeat the target's
    training do so by `defense`; without one they take it for undefended.

    Raises:
        ConfigError: an unknown name or hyperparameter, or a named attack that does not suit the
            features.
    """
    changes = _checked(settings, "attack", ATTACKS)

    def build(name: str) -> Attack:
        attack = ATTACKS[name].build(plan, dataset)
        if defense is not None and isinstance(attack, ReferenceModelAttack):
            attack = replace(attack, defense=defense)
        return override(attack, changes.get(name, {}), f"attack_settings.{name}.")

    for each in changes:
        if dataset.features in ATTACKS[each].features:
            build(each)
    chosen: dict[str, Attack] = {}
    for name in names:
        if name == EVERY_FLIP:
            base = build_attacks(["flip_noise"], plan, dataset, settings)[0]
            each_flip = [replace(base, flips=flips) for flips in _flips(dataset)]  # type: ignore[type-var]
            chosen |= {attack.name: attack for attack in each_flip}
            continue
        if name not in FAMILIES and name not in ATTACKS:
            raise unknown_name("attack", name, [*FAMILIES, *ATTACKS, EVERY_FLIP])
        for each in [name] if name in ATTACKS else _family(name, dataset):
            entry = ATTACKS[each]
            if dataset.features not in entry.features:
                raise ConfigError(
                    f"The attack {each} needs {' or '.join(entry.features)} features; those of "
                    f"{dataset.name} are {dataset.features}."
                )
            chosen[each] = build(each)
    return list(chosen.values())


def prediction_attacks() -> list[Attack]:
    """Return the attacks that need nothing but predictions on the records themselves."""
    return [*(ThresholdAttack(signal) for signal in get_args(SignalName)), NeuralAttack()]


def _checked(
    settings: Mapping[str, Changes] | None, kind: str, known: Mapping[str, object]
) -> Mapping[str, Changes]:
    for name in settings or {}:
        if name not in known:
            raise unknown_name(kind, name, known)
    return settings or {}


def _family(family: str, dataset: Dataset) -> list[str]:
    return [
        name
        for name, entry in ATTACKS.items()
        if entry.family == family and entry.in_family and dataset.features in entry.features
    ]
