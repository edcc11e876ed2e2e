"""Tuning: settings of a defense that trade accuracy against leakage, found by Optuna.

Every trial is one run with the same split. Two figures judge it, both without evaluation records:
accuracy on validation records, and leakage on the records that the attacker knows. So the choice
does not bias the figures of the chosen run on evaluation records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from selena.auditing.figure import Figure as ReportedFigure
from selena.auditing.figure import chance
from selena.config import merged
from selena.environment.fingerprint import fingerprint
from selena.errors import ConfigError, StoreError
from selena.experiments.pipeline import (
    RunSettings,
    attack,
    cases,
    check_settings,
    data_identity,
    load_data,
    train,
)
from selena.experiments.results import make_workspace
from selena.experiments.store import RunFolder
from selena.seeding import child_seed
from selena.workspace import Progress, Silent

_STUDY, _IDENTITY = "selena", "settings"

IntRange = tuple[int, int]
FloatRange = tuple[float, float]


@dataclass(frozen=True)
class Space:
    """The search space: the smallest and the largest value of every setting.

    Attributes:
        epochs: epochs of every training, including the student's; on a logarithmic scale.
        learning_rate: the same for the learning rate.
        weight_decay: the same for the weight decay; None keeps the plan's.
        n_nonmodels: L of SELENA and Split-AI, on a linear scale; None keeps the plan's.
    """

    epochs: IntRange = (5, 100)
    learning_rate: FloatRange = (1e-4, 1e-2)
    weight_decay: FloatRange | None = None
    n_nonmodels: IntRange | None = None

    def __post_init__(self) -> None:
        for name, limits in asdict(self).items():
            if limits is not None and not 0 < limits[0] <= limits[1]:
                raise ConfigError(
                    f"{name} is {limits[0]} to {limits[1]}; give LOW:HIGH with 0 < LOW <= HIGH."
                )

    def largest(self, settings: RunSettings) -> RunSettings:
        """Return `settings` with the largest L that may be tried, which must be below K."""
        if self.n_nonmodels is None:
            return settings
        return replace(settings, plan=merged(settings.plan, {"n_nonmodels": self.n_nonmodels[1]}))

    def suggest(self, trial: Any, settings: RunSettings) -> RunSettings:
        """Return `settings` with the values that Optuna proposes for a trial."""
        recipe: dict[str, Any] = {
            "epochs": trial.suggest_int("epochs", *self.epochs, log=True),
            "learning_rate": trial.suggest_float("learning_rate", *self.learning_rate, log=True),
        }
        if self.weight_decay is not None:
            recipe["weight_decay"] = trial.suggest_float(
                "weight_decay", *self.weight_decay, log=True
            )
        plan: dict[str, Any] = {"training": recipe, "distillation": recipe, "shadow_epochs": None}
        if self.n_nonmodels is not None:
            plan["n_nonmodels"] = trial.suggest_int("n_nonmodels", *self.n_nonmodels)
        defense = settings.defenses[0]
        if len(settings.defenses) > 1:
            defense = trial.suggest_categorical("defense", list(settings.defenses))
        return replace(settings, defenses=(defense,), plan=merged(settings.plan, plan))


@dataclass(frozen=True)
class Trial:
    """A finished trial.

    Attributes:
        number: its number in the study.
        params: the tried settings.
        accuracy: accuracy on validation records.
        leakage: the metric of the strongest attack, on records that the attacker knows.
        run: name of its run folder.
    """

    number: int
    params: Mapping[str, Any]
    accuracy: float
    leakage: float
    run: str


@dataclass(frozen=True)
class Tuning:
    """The result of a study.

    Attributes:
        metric: metric of the leakage.
        trials: the finished trials.
        front: numbers of the trials that no other beats in both figures, the least leakage first.
        chosen: number of the most accurate trial within the limit, or None.
        limit: largest leakage on known records, or None.
        evaluation: leakage of the chosen trial on evaluation records, with its interval.
        test_accuracy: test accuracy of the chosen trial.
    """

    metric: str
    trials: tuple[Trial, ...]
    front: tuple[int, ...]
    chosen: int | None = None
    limit: float | None = None
    evaluation: ReportedFigure | None = None
    test_accuracy: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        evaluation = None if self.evaluation is None else self.evaluation.to_json()
        return {**asdict(self), "evaluation": evaluation}


def tune(
    settings: RunSettings,
    space: Space,
    folder: Path,
    *,
    trials: int,
    metric: str = "tpr@fpr=0.01",
    limit: float | None = None,
    progress: Progress | None = None,
) -> Tuning:
    """Search for settings until a folder holds `trials` finished trials; a killed search resumes.

    The trials depend only on the settings, regardless of kills: the number of finished trials seeds
    the proposals, and the trial that was running is tried again first.

    Args:
        settings: data, defenses to choose from, attacks, and one seed.
        space: the search space.
        folder: folder of the study (`study.log`) and of the runs (`runs`).
        trials: number of finished trials, at least 1.
        metric: metric of the leakage: "advantage", "balanced_accuracy", "auc" or "tpr@fpr=X".
        limit: largest leakage on known records; None to choose no trial.
        progress: shows the progress.

    Raises:
        ConfigError: Optuna is missing, or a setting is out of range.
        StoreError: the folder holds a study with other settings, or is damaged.
    """
    chance(metric)  # raises for an unknown metric
    if trials < 1:
        raise ConfigError(f"trials is {trials}; give at least 1.")
    if len(settings.seeds) != 1:
        raise ConfigError("Give one seed: all trials share one split.")
    check_settings(space.largest(settings), progress)
    progress = progress or Silent()
    study = _open(settings, space, metric, folder)
    runs = folder / "runs"
    with progress.step("trials", trials) as bar:
        for _ in range(min(trials, len(finished(study)))):
            bar.advance()
        while (done := len(finished(study))) < trials:
            study.sampler = _sampler(settings.seeds[0], done)
            trial = study.ask()
            tried = space.suggest(trial, settings)
            accuracy, leakage, run = measure(tried, runs, metric, progress)
            trial.set_user_attr("run", run.path.name)
            study.tell(trial, (accuracy, leakage))
            bar.advance()
    return choose(finished(study), metric, limit, runs)


def measure(
    settings: RunSettings, runs: Path, metric: str, progress: Progress
) -> tuple[float, float, RunFolder]:
    """Return accuracy on validation records, leakage on known records, and the run's folder."""
    workspace = make_workspace(runs, settings, progress)
    (case,) = cases(settings, settings.seeds[0])
    run = train(case, runs, workspace)
    report = attack(
        run,
        settings.attacks,
        workspace,
        attack_settings=settings.attack_settings,
        data_dir=settings.data.data_dir,
    )
    dataset = case.dataset(progress)
    validation = case.split(dataset).validation
    model = run.restore(case.build_defense(dataset), workspace.torch_device)
    predicted = model.logits(validation.x).argmax(dim=1).cpu()
    leakage = report.figure(metric).known_value
    assert leakage is not None  # only figures of canaries may be None
    workspace.clear()
    return float((predicted == validation.y).double().mean()), float(leakage), run


def finished(study: Any) -> tuple[Trial, ...]:
    """Return the finished trials of a study of Optuna."""
    state = _optuna().trial.TrialState.COMPLETE
    return tuple(
        Trial(
            each.number,
            dict(each.params),
            accuracy=each.values[0],
            leakage=each.values[1],
            run=each.user_attrs["run"],
        )
        for each in study.get_trials(deepcopy=False, states=[state])
    )


def pareto(trials: tuple[Trial, ...]) -> tuple[int, ...]:
    """Return the numbers of trials that no other beats, the least leakage first."""
    front, best = [], float("-inf")
    for trial in sorted(trials, key=lambda each: (each.leakage, -each.accuracy, each.number)):
        if trial.accuracy > best:
            front.append(trial.number)
            best = trial.accuracy
    return tuple(front)


def choose(trials: tuple[Trial, ...], metric: str, limit: float | None, runs: Path) -> Tuning:
    """Return the study with its most accurate trial within the limit, and that run's figures."""
    within = [each for each in trials if limit is not None and each.leakage <= limit]
    tuning = Tuning(metric, trials, pareto(trials), limit=limit)
    if not within:
        return tuning
    best = max(within, key=lambda each: (each.accuracy, -each.leakage, -each.number))
    report = RunFolder(runs / best.run).report()
    return replace(
        tuning,
        chosen=best.number,
        evaluation=report.figure(metric),
        test_accuracy=report.test_accuracy.value,
    )


def _open(settings: RunSettings, space: Space, metric: str, folder: Path) -> Any:
    """Return the study in a folder; the unfinished trial of a killed search comes first again."""
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "study.log"
    backend = optuna.storages.journal
    try:
        storage = optuna.storages.JournalStorage(
            backend.JournalFileBackend(str(path), lock_obj=backend.JournalFileOpenLock(str(path)))
        )
        study = optuna.create_study(
            storage=storage,
            study_name=_STUDY,
            directions=["maximize", "minimize"],
            load_if_exists=True,
        )
    except (ValueError, KeyError, OSError) as error:
        raise StoreError(f"{path} is no study, or a damaged one. Name another folder.") from error
    identity = fingerprint(
        asdict(data_identity(load_data(settings.data))),
        asdict(replace(settings, workers=0)),
        space,
        metric,
    )
    if study.user_attrs.setdefault(_IDENTITY, identity) != identity:
        raise StoreError(
            f"{path} is a study of other data or settings. Name another folder, or use the same "
            "settings to continue."
        )
    study.set_user_attr(_IDENTITY, identity)
    states = optuna.trial.TrialState
    for stale in study.get_trials(deepcopy=False, states=[states.RUNNING]):
        study.tell(stale.number, state=states.FAIL)
        if stale.params:
            study.enqueue_trial(stale.params)
    return study


def _sampler(seed: int, done: int) -> Any:
    return _optuna().samplers.TPESampler(seed=child_seed(seed, "tuning", done) % 2**32)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "Tuning needs Optuna, which is not installed. "
            "Install it with: pip install 'selena-privacy[tune]'"
        ) from error
    return optuna
