"""Three literal tables: data sets, defenses and attacks by name.

A new defense or attack is one file and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import get_args

from selena.attacks.neural import NeuralAttack
from selena.attacks.threshold import ThresholdAttack
from selena.data.load import DATASETS
from selena.defenses.selena import Selena
from selena.defenses.split_ai import SplitAI
from selena.defenses.undefended import Undefended
from selena.errors import unknown_name
from selena.signals import SignalName
from selena.training.plans import Plan
from selena.types import Attack, Dataset, Defense, Family

__all__ = [
    "ATTACKS",
    "DATASETS",
    "DEFENSES",
    "build_attacks",
    "build_defense",
    "prediction_attacks",
]

DEFENSES: dict[str, Callable[[Plan, Dataset], Defense]] = {
    "undefended": lambda plan, data: Undefended(
        plan.network(data), data.num_classes, plan.training
    ),
    "split_ai": lambda plan, data: SplitAI(
        plan.network(data), data.num_classes, plan.training, plan.k, plan.l
    ),
    "selena": lambda plan, data: Selena(
        plan.network(data), data.num_classes, plan.training, plan.distillation, plan.k, plan.l
    ),
}

ATTACKS: dict[Family, dict[str, Callable[[Plan, Dataset], Attack]]] = {
    "direct": {
        "correctness": lambda _plan, _data: ThresholdAttack("correctness"),
        "confidence": lambda _plan, _data: ThresholdAttack("confidence"),
        "entropy": lambda _plan, _data: ThresholdAttack("entropy"),
        "modified_entropy": lambda _plan, _data: ThresholdAttack("modified_entropy"),
        "neural": lambda plan, _data: NeuralAttack(batch_size=plan.training.batch_size),
    },
}


def build_defense(name: str, plan: Plan, dataset: Dataset) -> Defense:
    """Return the defense called `name`, set up by `plan` for `dataset`."""
    if name not in DEFENSES:
        raise unknown_name("defense", name, DEFENSES)
    return DEFENSES[name](plan, dataset)


def build_attacks(names: Iterable[str], plan: Plan, dataset: Dataset) -> list[Attack]:
    """Return the attacks called `names`; a family's name stands for all of its attacks."""
    families: dict[str, list[str]] = {family: list(table) for family, table in ATTACKS.items()}
    builders = {name: build for table in ATTACKS.values() for name, build in table.items()}
    chosen: dict[str, Attack] = {}
    for name in names:
        if name not in families and name not in builders:
            raise unknown_name("attack", name, [*families, *builders])
        for each in families.get(name, [name]):
            chosen[each] = builders[each](plan, dataset)
    return list(chosen.values())


def prediction_attacks() -> list[Attack]:
    """Return the attacks that need nothing but predictions on the records themselves."""
    return [*(ThresholdAttack(signal) for signal in get_args(SignalName)), NeuralAttack()]
