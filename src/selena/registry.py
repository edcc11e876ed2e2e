"""Tables of data sets, defenses and attacks by name.

A new defense or attack is one file, a line here and a public name (CONTRIBUTING.md).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from selena.attacks.adaptive import ShadowDistanceAttack, ShadowNeuralAttack
from selena.attacks.augmentation import AugmentationAttack
from selena.attacks.boundary import BoundaryDistanceAttack
from selena.attacks.flip_noise import FlipNoiseAttack, flip_range
from selena.attacks.gaussian_noise import GaussianNoiseAttack
from selena.attacks.hopskipjump import HopSkipJumpAttack
from selena.attacks.indirect import IndirectQueryAttack
from selena.attacks.neural import NeuralAttack
from selena.attacks.one_query import OneQueryAttack
from selena.attacks.parrot import ParrotAttack
from selena.attacks.quantile import QuantileAttack
from selena.attacks.reference_model import ReferenceModelAttack
from selena.attacks.signal_attack import ThresholdAttack
from selena.attacks.yoqo import YOQOAttack
from selena.config import override
from selena.data.load import DATASETS
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
from selena.defenses.mist import MIST
from selena.defenses.mixup_mmd import MixupMMD
from selena.defenses.output_filters import TopK
from selena.defenses.pate import PATE
from selena.defenses.relaxloss import RelaxLoss
from selena.defenses.selena import Selena
from selena.defenses.split_ai import SplitAI
from selena.defenses.undefended import Undefended
from selena.errors import ConfigError, unknown_name
from selena.training.plans import Plan
from selena.types import Attack, Dataset, Defense, Family, FeatureKind, Needs

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
"""Hyperparameters by name, nested like the dataclass they change."""

Build = Callable[[Plan, Dataset], Defense]


def trained(kind: Callable[..., Defense]) -> Build:
    """Return a builder for a class that takes network, number of classes and recipe."""
    return lambda plan, data: kind(plan.network(data), data.num_classes, plan.training)


def wrapped(kind: Callable[..., Defense], **settings: Any) -> Build:
    """Return a builder for a class that wraps a defense; it wraps an undefended network."""
    return lambda plan, data: kind(trained(Undefended)(plan, data), **settings)


DEFENSES: dict[str, Build] = {
    "undefended": trained(Undefended),
    "split_ai": SplitAI.from_plan,
    "selena": Selena.from_plan,
    "memguard": wrapped(MemGuard),
    "adversarial_regularization": AdversarialRegularization.from_plan,
    "early_stopping": trained(EarlyStopping),
    "dp_sgd": trained(DPSGD),
    "label_smoothing": trained(LabelSmoothing),
    "dropout_l2": trained(DropoutL2),
    "mixup_mmd": trained(MixupMMD),
    "relaxloss": trained(RelaxLoss),
    "hamp": trained(HAMP),
    "convex_concave_loss": trained(ConvexConcaveLoss),
    "mist": trained(MIST),
    "dyna_noise": wrapped(DynaNoise),
    "distillation": Distillation.from_plan,
    "dmp": DMP.from_plan,
    "pate": PATE.from_plan,
    "top_k": wrapped(TopK),
    "label_output": wrapped(TopK, k=0),
}


@dataclass(frozen=True)
class AttackEntry:
    """A registered attack.

    Attributes:
        kind: its class. If that has a classmethod `from_plan(plan, data, **settings)`, it builds
            the attack; any other attack with needs "training" takes the `defense` to repeat.
        settings: hyperparameters of this attack, if several attacks share a class.
        in_family: whether the family's name includes it. Attacks that take very long, or need more
            than the others of their family, run only when they are named.
    """

    kind: Any
    settings: Changes = field(default_factory=dict)
    in_family: bool = True

    @property
    def family(self) -> Family:
        """The family it is listed under."""
        return self.kind.family  # type: ignore[no-any-return]

    @property
    def needs(self) -> Needs:
        """What it needs."""
        return self.kind.needs  # type: ignore[no-any-return]

    @property
    def features(self) -> tuple[FeatureKind, ...]:
        """The kinds of features it works on: the class's `features`, by default all."""
        return getattr(self.kind, "features", get_args(FeatureKind))

    def build(self, plan: Plan, data: Dataset, defense: Defense | None = None) -> Attack:
        """Return the attack for a plan and a data set."""
        if hasattr(self.kind, "from_plan"):
            return self.kind.from_plan(plan, data, **self.settings)  # type: ignore[no-any-return]
        if self.needs == "training":
            defense = defense or trained(Undefended)(plan, data)
            return self.kind(defense=defense, **self.settings)  # type: ignore[no-any-return]
        return self.kind(**self.settings)  # type: ignore[no-any-return]


def offline(statistic: str) -> AttackEntry:
    """Return the entry of an offline statistic: it uses only models that did not see the record."""
    settings = {"statistic": statistic, "online": False}
    return AttackEntry(ReferenceModelAttack, settings, in_family=False)


ATTACKS: dict[str, AttackEntry] = {
    "correctness": AttackEntry(ThresholdAttack, {"signal": "correctness"}),
    "confidence": AttackEntry(ThresholdAttack, {"signal": "confidence"}),
    "entropy": AttackEntry(ThresholdAttack, {"signal": "entropy"}),
    "modified_entropy": AttackEntry(ThresholdAttack, {"signal": "modified_entropy"}),
    "neural": AttackEntry(NeuralAttack),
    "quantile": AttackEntry(QuantileAttack, in_family=False),
    "flip_noise": AttackEntry(FlipNoiseAttack),
    "gaussian_noise": AttackEntry(GaussianNoiseAttack),
    "augmentation": AttackEntry(AugmentationAttack),
    "augmentation_classifier": AttackEntry(AugmentationAttack, {"mode": "classifier"}),
    "boundary": AttackEntry(BoundaryDistanceAttack, in_family=False),
    "hopskipjump": AttackEntry(HopSkipJumpAttack, in_family=False),
    "one_query": AttackEntry(OneQueryAttack, in_family=False),
    "yoqo": AttackEntry(YOQOAttack, in_family=False),
    "shadow_cross_entropy": AttackEntry(ShadowDistanceAttack, {"signal": "cross_entropy"}),
    "shadow_squared_l2": AttackEntry(ShadowDistanceAttack, {"signal": "squared_l2"}),
    "shadow_neural_difference": AttackEntry(ShadowNeuralAttack, {"inputs": "difference"}),
    "shadow_neural_both": AttackEntry(ShadowNeuralAttack, {"inputs": "both"}),
    "indirect_confidence": AttackEntry(IndirectQueryAttack, {"signal": "confidence"}),
    "indirect_modified_entropy": AttackEntry(IndirectQueryAttack, {"signal": "modified_entropy"}),
    "lira": AttackEntry(ReferenceModelAttack, {"statistic": "lira"}),
    "rmia": AttackEntry(ReferenceModelAttack, {"statistic": "rmia"}),
    "bavaria": AttackEntry(ReferenceModelAttack, {"statistic": "bavaria"}),
    "empirical_bayes": AttackEntry(ReferenceModelAttack, {"statistic": "empirical_bayes"}),
    "base": AttackEntry(ReferenceModelAttack, {"statistic": "base"}, in_family=False),
    "lira_offline": offline("lira"),
    "rmia_offline": offline("rmia"),
    "bavaria_offline": offline("bavaria"),
    "base_offline": offline("base"),
    "parrot": AttackEntry(ParrotAttack, in_family=False),
}

# The paper chooses the number of flips on the scored records. With this name every number is a
# separate attack, and the report's `strongest_on_evaluation` makes that choice (marked as biased).
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
    # Also settings of other defenses, so that a wrong setting is always an error.
    built = {
        each: override(DEFENSES[each](plan, dataset), change, f"defense_settings.{each}.")
        for each, change in {name: {}, **changes}.items()
    }
    return built[name]


def check_installed(defense: Defense) -> None:
    """Raise `ConfigError` if a package that `defense` needs is not installed."""
    if isinstance(defense, DPSGD):
        defense.check_installed()


def build_attacks(
    names: Iterable[str],
    plan: Plan,
    dataset: Dataset,
    settings: Mapping[str, Changes] | None = None,
    defense: Defense | None = None,
    *,
    needs: Collection[Needs] = get_args(Needs),
) -> list[Attack]:
    """Return the attacks called `names`.

    A family's name stands for its attacks that suit the data set's features and need nothing
    outside of `needs`. `settings` holds changes to hyperparameters by the names of attacks. Attacks
    that repeat the target's training use `defense`, by default an undefended network.

    Raises:
        ConfigError: an unknown name or hyperparameter, or a named attack that does not suit the
            features.
    """
    changes = _checked(settings, "attack", ATTACKS)

    def build(name: str) -> Attack:
        attack = ATTACKS[name].build(plan, dataset, defense)
        return override(attack, changes.get(name, {}), f"attack_settings.{name}.")

    for each in changes:
        if dataset.features in ATTACKS[each].features:
            build(each)
    chosen: dict[str, Attack] = {}
    for name in names:
        if name == EVERY_FLIP:
            base = build_attacks(["flip_noise"], plan, dataset, settings)[0]
            each_flip = [replace(base, flips=flips) for flips in flip_range(dataset)]  # type: ignore[type-var]
            chosen |= {attack.name: attack for attack in each_flip}
            continue
        for each in attacks_of(name):
            entry = ATTACKS[each]
            suits = dataset.features in entry.features
            if name in ATTACKS and not suits:
                raise ConfigError(
                    f"The attack {each} needs {' or '.join(entry.features)} features; those of "
                    f"{dataset.name} are {dataset.features}."
                )
            if name in ATTACKS or (suits and entry.needs in needs):
                chosen[each] = build(each)
    return list(chosen.values())


def attacks_of(name: str) -> list[str]:
    """Return the names of the attacks that a name stands for: its own, or those of a family.

    Raises:
        ConfigError: an unknown name.
    """
    if name in ATTACKS:
        return [name]
    if name == EVERY_FLIP:
        return ["flip_noise"]
    if name not in FAMILIES:
        raise unknown_name("attack", name, [*FAMILIES, *ATTACKS, EVERY_FLIP])
    return [each for each, entry in ATTACKS.items() if entry.family == name and entry.in_family]


def prediction_attacks() -> list[Attack]:
    """Return the attacks that need only predictions for unchanged records."""
    entries = [entry for entry in ATTACKS.values() if entry.needs == "predictions"]
    return [entry.kind(**entry.settings) for entry in entries if entry.in_family]


def _checked(
    settings: Mapping[str, Changes] | None, kind: str, known: Mapping[str, object]
) -> Mapping[str, Changes]:
    for name in settings or {}:
        if name not in known:
            raise unknown_name(kind, name, known)
    return settings or {}
