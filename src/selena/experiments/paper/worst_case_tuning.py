"""Every defense at the same utility: how strong it can be set before accuracy falls too low.

Each defense has one knob. A budget of trials spreads over it, from the strongest setting to the
weakest. The first setting that reaches the target on tuning records is taken; where none does, the
most accurate one. Tuning records are non-members that no defense and no attack sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from selena.auditing.run import accuracy
from selena.config import merged
from selena.errors import ConfigError, unknown_name
from selena.experiments.paper.worst_case_pool import Arena, fit_apart, kept_name
from selena.registry import build_defense
from selena.training.plans import Plan
from selena.types import Dataset, Defense
from selena.workspace import Workspace

TOLERANCE = 0.01
"""So far below the target a defense may be: one point."""

GIVEN_UP = 0.02
"""Without a target, so much accuracy may be lost against the undefended model."""


@dataclass(frozen=True)
class Knob:
    """The hyperparameter that makes a defense stronger.

    Attributes:
        name: of the hyperparameter; empty where the defense has none that is tuned.
        strongest: its value where it protects most.
        weakest: its value where it costs least.
        kind: how values lie between: "ratio" (equal ratios), "step" (equal steps), "count" (equal
            steps, rounded), "epochs" or "submodels" (shares of the plan's number, rounded).
    """

    name: str = ""
    strongest: float = 0.0
    weakest: float = 0.0
    kind: str = "ratio"

    def settings(self, trials: int, plan: Plan) -> list[dict[str, Any]]:
        """Return at most so many settings, the strongest first."""
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
"""By name of the defense. Ranges were set before anything was attacked."""


@dataclass(frozen=True)
class Trial:
    """One setting and what it achieved.

    Attributes:
        settings: changes to the defense's hyperparameters.
        accuracy: on the tuning records.
    """

    settings: Mapping[str, Any]
    accuracy: float


@dataclass(frozen=True, eq=False)
class Tuned:
    """A defense whose strength is settled.

    Attributes:
        defense: with the chosen setting.
        chosen: the trial that it comes from.
        trials: all that were made, the strongest first.
        meets_target: whether the chosen trial is at most a point below the target.
    """

    defense: Defense
    chosen: Trial
    trials: tuple[Trial, ...]
    meets_target: bool


def candidates(
    name: str, plan: Plan, dataset: Dataset, trials: int, settings: Mapping[str, Any]
) -> list[tuple[dict[str, Any], Defense]]:
    """Return the settings to try with the defense of each, the strongest first.

    `settings` are changes by the name of the defense, below those that are tried.

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
        (each, build_defense(name, plan, dataset, {name: merged(base, each)})) for each in tried
    ]


def tune(
    tried: Sequence[tuple[dict[str, Any], Defense]],
    arena: Arena,
    target: float | None,
    workspace: Workspace,
) -> Tuned:
    """Return the strongest setting that reaches the target, or the most accurate one.

    Args:
        tried: from `candidates`.
        arena: whose base records are trained on, and whose tuning records decide.
        target: accuracy in [0, 1]; None takes the last setting.
        workspace: keeps the accuracy of every trial.
    """
    made: list[tuple[Trial, Defense]] = []
    for settings, defense in tried if target is not None else tried[-1:]:
        trial = Trial(settings, tuning_accuracy(defense, arena, workspace))
        made.append((trial, defense))
        if target is not None and trial.accuracy >= target - TOLERANCE:
            break
    chosen, defense = max(made, key=lambda one: one[0].accuracy)
    meets = target is None or chosen.accuracy >= target - TOLERANCE
    return Tuned(defense, chosen, tuple(trial for trial, _ in made), meets)


def tuning_accuracy(defense: Defense, arena: Arena, workspace: Workspace) -> float:
    """Return the accuracy on tuning records after training on the base records alone."""
    name = kept_name("worst-case-trial", defense, arena, workspace.device)
    kept = workspace.load(name)
    if kept is None:
        model = fit_apart(defense, arena.base, arena, workspace, name, "tuning")
        kept = {"accuracy": torch.tensor(accuracy(model, arena.tuning).value).double()}
        workspace.save(name, kept)
    return float(kept["accuracy"])
