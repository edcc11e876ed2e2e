"""Tunes every defense to the same accuracy: the strongest setting that still reaches it.

Each defense has one knob. The trials are spread over its range, from the strongest setting to the
weakest. The first setting that reaches the target on tuning records is chosen; if none does, the
most accurate one. Tuning records are non-members that no defense and no attack sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selena.config import merged
from selena.errors import ConfigError, unknown_name
from selena.experiments.paper.worst_case_models import WorstCaseModel
from selena.experiments.paper.worst_case_pool import Arena
from selena.registry import build_defense
from selena.training.plans import Plan
from selena.types import Dataset, Defense
from selena.workspace import Workspace

TOLERANCE = 0.01
"""How far below the target a defense may be: one point."""

GIVEN_UP = 0.02
"""Accuracy that defenses may lose against the undefended model, without a given target."""

Candidate = tuple[dict[str, Any], WorstCaseModel]
"""Settings of a defense that are tried, and the trial."""


@dataclass(frozen=True)
class Knob:
    """The hyperparameter that makes a defense stronger.

    Attributes:
        name: name of the hyperparameter; empty if the defense is not tuned.
        strongest: value with the most protection.
        weakest: value with the highest accuracy.
        kind: how values are spaced: "ratio" (equal ratios), "step" (equal steps), "count" (equal
            steps, rounded), "epochs" or "submodels" (shares of the plan's number, rounded).
    """

    name: str = ""
    strongest: float = 0.0
    weakest: float = 0.0
    kind: str = "ratio"

    def settings(self, trials: int, plan: Plan) -> list[dict[str, Any]]:
        """Return at most `trials` settings, the strongest first."""
        if not self.name:
            return [{}]
        spread = np.geomspace if self.kind == "ratio" else np.linspace
        values: Sequence[float] = spread(self.strongest, self.weakest, trials).tolist()
        whole = {"count": 1, "epochs": plan.training.epochs, "submodels": plan.n_submodels}
        if self.kind in whole:
            rounded = [max(1, round(value * whole[self.kind])) for value in values]
            return [{self.name: value} for value in dict.fromkeys(rounded)]
        return [{self.name: float(f"{value:.3g}")} for value in values]


KNOBS: dict[str, Knob] = {
    "undefended": Knob(),
    "selena": Knob("n_nonmodels", 0.7, 0.2, "submodels"),
    "split_ai": Knob("n_nonmodels", 0.7, 0.2, "submodels"),
    "memguard": Knob(),
    "adversarial_regularization": Knob("alpha", 3.0, 0.1),
    "early_stopping": Knob("epoch", 0.2, 0.8, "epochs"),
    "dp_sgd": Knob("noise_multiplier", 1.0, 0.02),
    "label_smoothing": Knob("smoothing", 0.95, 0.2, "step"),
    "dropout_l2": Knob("dropout", 0.8, 0.2, "step"),
    "mixup_mmd": Knob("weight", 10.0, 0.1),
    "relaxloss": Knob("alpha", 2.0, 0.1),
    "hamp": Knob("entropy_share", 0.95, 0.5, "step"),
    "convex_concave_loss": Knob("alpha", 0.1, 0.9, "step"),
    "mist": Knob("cross_weight", 10.0, 0.3),
    "dyna_noise": Knob("base_variance", 3.0, 0.03),
    "distillation": Knob("temperature", 8.0, 1.0),
    "dmp": Knob("temperature", 8.0, 1.0),
    "pate": Knob("noise_scale", 4.0, 0.5),
    "top_k": Knob("k", 1.0, 3.0, "count"),
    "label_output": Knob(),
}
"""Knobs by name of the defense. Ranges were chosen before any attack was run."""


@dataclass(frozen=True)
class UtilityTrial:
    """One setting and its accuracy.

    Attributes:
        settings: changes to the defense's hyperparameters.
        accuracy: on the tuning records.
    """

    settings: Mapping[str, Any]
    accuracy: float


@dataclass(frozen=True, eq=False)
class Tuned:
    """A tuned defense.

    Attributes:
        defense: the defense with the chosen setting.
        chosen: the chosen trial.
        trials: all trials, the strongest first.
        meets_target: whether the chosen trial is at most a point below the target.
    """

    defense: Defense
    chosen: UtilityTrial
    trials: tuple[UtilityTrial, ...]
    meets_target: bool


def candidates(
    name: str, plan: Plan, dataset: Dataset, trials: int, settings: Mapping[str, Any]
) -> list[Candidate]:
    """Return the settings to try, each with its trial, the strongest first.

    `settings` are fixed changes by the name of the defense; tried settings take precedence.

    Raises:
        ConfigError: an unknown defense, or one without a knob.
    """
    if name not in KNOBS:
        raise unknown_name("defense", name, KNOBS)
    if trials < 2:
        raise ConfigError(
            f"trials is {trials}; give 2 or more: the strongest and the weakest setting."
        )
    tried = KNOBS[name].settings(trials, plan)
    base = dict(settings.get(name, {}))
    return [
        (each, WorstCaseModel(name, build_defense(name, plan, dataset, {name: merged(base, each)})))
        for each in tried
    ]


def tune(
    tried: Sequence[Candidate],
    arena: Arena,
    target: float | None,
    workspace: Workspace,
) -> Tuned:
    """Return the strongest setting that reaches the target, or the most accurate one.

    Args:
        tried: result of `candidates`.
        arena: base records to train on, and tuning records that decide.
        target: accuracy in [0, 1]; None takes the last setting.
        workspace: keeps the accuracy of every trial.
    """
    made: list[tuple[UtilityTrial, WorstCaseModel]] = []
    for settings, model in tried if target is not None else tried[-1:]:
        trial = UtilityTrial(settings, tuning_accuracy(model, arena, workspace))
        made.append((trial, model))
        if target is not None and trial.accuracy >= target - TOLERANCE:
            break
    chosen, model = max(made, key=lambda one: one[0].accuracy)
    meets = target is None or chosen.accuracy >= target - TOLERANCE
    return Tuned(model.defense, chosen, tuple(trial for trial, _ in made), meets)


def tuning_accuracy(trial: WorstCaseModel, arena: Arena, workspace: Workspace) -> float:
    """Return the accuracy on tuning records after training on only the base records."""
    return float(trial.answers(arena, workspace)["accuracy"])
