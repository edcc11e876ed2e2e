"""The plan of the work: what will be trained, what is there already, and how long it takes here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import torch

from selena.attacks.neighbors import flip_patterns
from selena.defenses.memguard_noise import NoiseSearch
from selena.experiments.paper.task import Item, PaperTask
from selena.experiments.paper.work import Pieces, Sizes, Work, audit_work, training_work
from selena.experiments.pipeline import cases
from selena.experiments.store import RunFolder
from selena.fingerprint import describe
from selena.networks import NetworkFactory
from selena.networks.membership import MembershipNetwork
from selena.networks.mlp import MLP
from selena.registry import build_attacks
from selena.seeding import torch_generator
from selena.training.engine import fit_networks
from selena.training.flips import flipped_labels
from selena.training.inference import predict
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
from selena.types import Attack
from selena.workspace import Workspace

# Records of a step of an attack network, predicted at once, and searched noise for at once.
_BATCH, _PREDICTED, _SEARCHED = 512, 1024, 2048


@dataclass(frozen=True)
class PlanLine:
    """One entry of the plan.

    Attributes:
        label: what is worked on.
        work: what is left to do.
        found: what is there already, in words; may be empty.
    """

    label: str
    work: Work
    found: str = ""


@dataclass(frozen=True)
class Speed:
    """Seconds that this machine needs.

    Attributes:
        step: for one optimizer step of the classifier.
        attack_record: for one record shown to an attack network.
        prediction: for one prediction of the classifier.
        flipped: for the label of one copy with flipped bits; 0 where records are no bits.
        search: for one search for noise that takes all its steps.
    """

    step: float
    attack_record: float
    prediction: float
    flipped: float
    search: float

    def seconds(self, work: Work) -> float:
        """Return how long `work` takes, roughly."""
        return (
            work.steps * self.step
            + work.attack_records * self.attack_record
            + work.passes * self.prediction
            + work.flipped * self.flipped
            + work.searches * self.search
        )


def plan_lines(items: Sequence[Item], task: PaperTask, runs: Path) -> list[PlanLine]:
    """Return the work of each item that neither `runs` holds nor an item before it does."""
    dataset = task.load()
    lines = []
    for _, bundle in groupby(items, key=lambda item: item.bundle):
        counted: set[str] = set()
        for item in bundle:
            case, found = item.case, []
            defense, plan = case.build_defense(dataset), case.build_plan(dataset)
            attacks = build_attacks(item.attacks, plan, dataset, task.scale.attack_settings)
            sizes = Sizes.of(case.data.sizes(dataset), len(dataset.records))
            folder = case.folder(runs, dataset)
            audit = audit_work(defense, attacks, sizes)
            artifacts: Pieces = {}
            if folder.is_trained:
                found.append("model")
            else:
                artifacts |= training_work(defense, sizes.members, sizes.validation)
            if folder.is_trained and _is_attacked(folder, attacks):
                found.append("attacks")
                counted |= set(audit)
            else:
                artifacts |= audit
            work = _total(each for name, each in artifacts.items() if name not in counted)
            counted |= set(artifacts)
            lines.append(PlanLine(item.label, work, " and ".join(found)))
    return lines


def total(lines: Sequence[PlanLine]) -> Work:
    """Return the work of all lines together."""
    return _total(line.work for line in lines)


def calibrate(task: PaperTask) -> Speed:
    """Measure this machine on a few steps and predictions of the task's network.

    Takes seconds for an MLP; nothing that it computes is kept.
    """
    dataset, device = task.load(), task.device
    (case,) = cases(task.settings(["undefended"]), 0)
    plan = case.build_plan(dataset)
    network, recipe = plan.network(dataset), replace(plan.training, epochs=1, selection="last")
    x, y, width = dataset.records.x, dataset.records.y, dataset.num_classes
    draws = torch_generator(0, "calibration")
    model = network().to(device)
    search = NoiseSearch(most_steps=20)
    inference = MLP(width, 1, hidden=(256, 128, 64), activation="relu")()
    # A network as sure as this is never brought to change its mind: every step is taken.
    torch.nn.init.constant_(list(inference.parameters())[-1], 1e6)
    sorted_logits = torch.rand(_SEARCHED, width, generator=draws).double().sort(dim=1).values

    def train(steps: int) -> None:
        rows = torch.arange(recipe.batch_size * steps) % len(x)
        _train(network, Examples(x[rows], y[rows]), recipe, device)

    def train_attack(steps: int) -> None:
        records = torch.rand(steps * _BATCH, 2 * width, generator=draws)
        small = Recipe(batch_size=_BATCH, epochs=1, loss="mse", precision="float32")
        examples = Examples(records, torch.ones(len(records)))
        _train(MembershipNetwork(width, width), examples, small, device)

    def label_flipped(patterns: int) -> None:
        flips = flip_patterns(x.shape[1], 1, patterns, 0)
        flipped_labels(model, x[:_PREDICTED], flips, device=device)

    predicted = min(_PREDICTED, len(x))
    seconds_a_pattern = _seconds_each(label_flipped) if dataset.features == "binary" else 0.0
    return Speed(
        step=_seconds_each(train),
        attack_record=_seconds_each(train_attack) / _BATCH,
        prediction=_seconds_each(_repeat(lambda: predict(model, x[:predicted], device=device)))
        / predicted,
        flipped=seconds_a_pattern / predicted,
        search=_seconds_each(_repeat(lambda: search.run(inference, sorted_logits)))
        * (NoiseSearch().most_steps / search.most_steps / _SEARCHED),
    )


def _train(network: NetworkFactory, examples: Examples, recipe: Recipe, device: str) -> None:
    job = Job("calibration", torch.arange(len(examples.x)), 0)
    fit_networks(network, examples, [job], recipe, workspace=Workspace(device=device))


def _repeat(action: Callable[[], object]) -> Callable[[int], object]:
    return lambda times: [action() for _ in range(times)]


def _seconds_each(run: Callable[[int], object]) -> float:
    """Return the seconds of one unit of `run`, without what a call costs whatever its length."""
    run(1)  # whatever is done once
    once = _timed(run, 1)
    more = 3 if once > 0.5 else 9
    return max(_timed(run, 1 + more) - _timed(run, 1), 1e-9) / more


def _timed(run: Callable[[int], object], units: int) -> float:
    start = time.perf_counter()
    run(units)
    return time.perf_counter() - start


def _total(works: Iterable[Work]) -> Work:
    return sum(works, Work())


def _is_attacked(folder: RunFolder, attacks: Sequence[Attack]) -> bool:
    """Return whether the folder's audit holds all these attacks with these settings."""
    kept = folder.audited().get("attacks", {}) if folder.is_trained else {}
    return all(kept.get(a.name, {}).get("settings") == describe(a) for a in attacks)
