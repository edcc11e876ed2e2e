"""The plan of the work: networks to train, networks already trained, and the estimated time.

Trainings are counted from their settings, and a few steps of each kind of network are timed.
Trainings of one name are done only once: MemGuard filters the undefended model, and all adaptive
attacks of one audit share the attacker's Split-AI.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import Any

import torch

from selena.attacks.adaptive import ShadowDistanceAttack, ShadowNeuralAttack
from selena.attacks.neural import NeuralAttack
from selena.data.split import Partition
from selena.defenses.adversarial_regularization import AdversarialRegularization
from selena.defenses.distillation import Distillation
from selena.defenses.dmp import DMP
from selena.defenses.dp_sgd import DPSGD
from selena.defenses.dyna_noise import DynaNoise
from selena.defenses.early_stopping import EarlyStopping
from selena.defenses.hamp import HAMP
from selena.defenses.memguard import MemGuard
from selena.defenses.mist import MIST
from selena.defenses.output_filters import TopK
from selena.defenses.pate import PATE
from selena.defenses.selena import Selena
from selena.defenses.single import SingleNetwork
from selena.defenses.split_ai import SplitAI
from selena.environment.fingerprint import describe, fingerprint
from selena.experiments.paper.task import Item, PaperTask
from selena.experiments.pipeline import cases
from selena.experiments.store import RunFolder
from selena.networks import NetworkFactory
from selena.networks.membership import MembershipNetwork
from selena.registry import build_attacks, build_defense
from selena.training.engine import fit_networks
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
from selena.types import Attack, Defense
from selena.workspace import Workspace

_TIMED_STEPS = 10
_ATTACK_BATCH = 512


@dataclass(frozen=True)
class Work:
    """Networks to train.

    Attributes:
        networks: classifiers trained.
        steps: optimizer steps of classifiers.
        private_steps: as many of them as are DP-SGD's.
        attack_networks: networks trained to tell members, by attacks and by defenses.
        attack_records: records shown to attack networks, counting every epoch.
    """

    networks: int = 0
    steps: int = 0
    private_steps: int = 0
    attack_networks: int = 0
    attack_records: int = 0

    def __add__(self, other: Work) -> Work:
        """Return both together."""
        return Work(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class PlanLine:
    """One entry of the plan.

    Attributes:
        label: name of the item.
        work: the remaining training.
        found: what is already done, in words; may be empty.
    """

    label: str
    work: Work
    found: str = ""


@dataclass(frozen=True)
class Speed:
    """Speed of this machine, in seconds.

    Attributes:
        step: for one optimizer step of the classifier.
        private_step: for one of DP-SGD; 0 where none is planned.
        attack_record: for one record shown to an attack network.
    """

    step: float
    private_step: float
    attack_record: float

    def seconds(self, work: Work) -> float:
        """Return about how many seconds `work` takes."""
        plain = (work.steps - work.private_steps) * self.step
        private = work.private_steps * self.private_step
        return plain + private + work.attack_records * self.attack_record


def plan_lines(items: Sequence[Item], task: PaperTask, runs: Path) -> list[PlanLine]:
    """Return each item's trainings, without those in `runs` or of an earlier item."""
    dataset = task.load()
    lines = []
    for _, bundle in groupby(items, key=lambda item: item.bundle):
        counted: set[str] = set()
        for item in bundle:
            case, found = item.case, []
            defense, plan = case.build_defense(dataset), case.build_plan(dataset)
            attacks = build_attacks(item.attacks, plan, dataset, task.scale.attack_settings)
            partition, folder = case.data.sizes(dataset), case.folder(runs, dataset)
            trainings: dict[str, Work] = {}
            if folder.is_trained:
                found.append("model")
            else:
                trainings |= defense_trainings(defense, partition.members, partition.validation)
            if folder.is_trained and _is_attacked(folder, attacks):
                found.append("attacks")
            else:
                trainings |= _attack_trainings(defense, attacks, partition)
            left = [each for name, each in trainings.items() if name not in counted]
            counted |= set(trainings)
            lines.append(PlanLine(item.label, sum(left, Work()), " and ".join(found)))
    return lines


def total(lines: Sequence[PlanLine]) -> Work:
    """Return the work of all lines together."""
    return sum((line.work for line in lines), Work())


def defense_trainings(defense: Defense, members: int, validation: int) -> dict[str, Work]:
    """Return the trainings by name that fitting `defense` on that many records needs.

    Raises:
        TypeError: a defense whose work is not counted here.
    """
    name = fingerprint(defense, members)
    match defense:
        case EarlyStopping(epoch=int(epoch)):
            stopped = replace(defense.recipe, epochs=epoch)
            return {name: Work(networks=1, steps=_steps(stopped, members))}
        case SingleNetwork() | HAMP():
            return {name: Work(networks=1, steps=_steps(defense.recipe, members))}
        case DPSGD():
            steps = _steps(defense.recipe, members)
            return {name: Work(networks=1, steps=steps, private_steps=steps)}
        case MIST():
            return {name: Work(networks=1, steps=2 * _steps(defense.recipe, members))}
        case TopK() | DynaNoise():
            return defense_trainings(defense.base, members, validation)
        case Distillation() | DMP():
            taught = members if isinstance(defense, Distillation) else validation
            steps = _steps(defense.recipe, members) + _steps(defense.distillation, taught)
            return {name: Work(networks=2, steps=steps)}
        case PATE():
            one = ceil(members / defense.n_teachers)
            steps = defense.n_teachers * _steps(defense.recipe, one)
            steps += _steps(defense.distillation, min(validation, defense.queries or validation))
            return {name: Work(networks=defense.n_teachers + 1, steps=steps)}
        case SplitAI():
            each = round(members * (1 - defense.n_nonmodels / defense.n_submodels))
            steps = defense.n_submodels * _steps(defense.recipe, each)
            return {name: Work(networks=defense.n_submodels, steps=steps)}
        case Selena():
            student = Work(networks=1, steps=_steps(defense.distillation, members))
            return defense_trainings(defense.split_ai, members, validation) | {name: student}
        case MemGuard():
            shown = 2 * min(members, validation) * defense.inference.epochs
            inference = Work(attack_networks=1, attack_records=shown)
            return defense_trainings(defense.base, members, validation) | {name: inference}
        case AdversarialRegularization():
            return {name: _game(defense, members)}
    raise TypeError(f"The work of {type(defense).__name__} is not counted here.")


def _attack_trainings(
    target: Defense, attacks: Sequence[Attack], partition: Partition
) -> dict[str, Work]:
    """Return the trainings by name of attacks on a model that `target` fitted."""
    imitated = partition.members // 2
    known = min(imitated, partition.reference)
    trainings: dict[str, Work] = {}
    for attack in attacks:
        network = attack.network if isinstance(attack, ShadowNeuralAttack) else attack
        if isinstance(network, NeuralAttack):
            members = min(known * (1 - network.held_out), network.max_members)
            shown = round(2 * members) * network.epochs
            work = Work(attack_networks=1, attack_records=shown)
            trainings[fingerprint(target, attack)] = work
        if isinstance(attack, ShadowDistanceAttack | ShadowNeuralAttack):
            trainings |= defense_trainings(attack.split_ai, imitated, known)
    return trainings


def _steps(recipe: Recipe, records: int) -> int:
    return recipe.epochs * ceil(records / recipe.batch_size)


def _game(defense: AdversarialRegularization, members: int) -> Work:
    """Count the steps of both networks; the adversary's use one batch per side."""
    recipe, an_epoch = defense.recipe, ceil(members / defense.recipe.batch_size)
    played = max(0, recipe.epochs - defense.warm_up_epochs) * defense.attack_batches
    shown = 2 * recipe.batch_size * an_epoch * (played + defense.attack_passes)
    return Work(1, _steps(recipe, members), attack_networks=1, attack_records=shown)


def _is_attacked(folder: RunFolder, attacks: Sequence[Attack]) -> bool:
    """Return whether the folder's audit holds all these attacks with these settings."""
    kept = folder.manifest().attack_settings()
    return all(kept.get(attack.name) == describe(attack) for attack in attacks)


def calibrate(task: PaperTask, work: Work, changes: Mapping[str, Any] | None = None) -> Speed:
    """Measure this machine on a few steps of each kind of network that `work` needs.

    Takes seconds for an MLP; nothing that it computes is kept. `changes` are those of the plan,
    after those of the scale.

    Raises:
        ConfigError: DP-SGD is planned, and Opacus is not installed.
    """
    dataset = task.load()
    (case,) = cases(task.settings(["undefended"], **(changes or {})), 0)
    plan, width = case.build_plan(dataset), dataset.num_classes
    rows = torch.arange(plan.training.batch_size * _TIMED_STEPS) % len(dataset.records)
    records = dataset.records.take(rows)
    shown = _ATTACK_BATCH * _TIMED_STEPS
    pairs = Examples(torch.full((shown, 2 * width), 0.5), torch.ones(shown))
    workspace = Workspace(device=task.device)

    def fit(network: NetworkFactory, examples: Examples, recipe: Recipe) -> None:
        job = Job("calibration", torch.arange(len(examples.x)), 0)
        fit_networks(network, examples, [job], _one_epoch(recipe), workspace=workspace)

    def fit_privately() -> None:
        defense = build_defense("dp_sgd", plan, dataset)
        assert isinstance(defense, DPSGD)
        defense = replace(defense, recipe=_one_epoch(defense.recipe))
        defense.fit(records, records, workspace=workspace)

    classifier = plan.network(dataset), Examples(records.x, records.y), plan.training
    small = Recipe(batch_size=_ATTACK_BATCH, loss="mse", precision="float32")
    adversary = MembershipNetwork(width, width), pairs, small
    return Speed(
        step=_seconds(partial(fit, *classifier)) / _TIMED_STEPS,
        private_step=_seconds(fit_privately) / _TIMED_STEPS if work.private_steps else 0.0,
        attack_record=_seconds(partial(fit, *adversary)) / shown,
    )


def _one_epoch(recipe: Recipe) -> Recipe:
    return replace(recipe, epochs=1, selection="last")


def _seconds(train: Callable[[], None]) -> float:
    """Return the seconds of a training, after a first one that includes one-time work."""
    taken = 0.0
    for _ in range(2):
        start = time.perf_counter()
        train()
        taken = time.perf_counter() - start
    return taken
