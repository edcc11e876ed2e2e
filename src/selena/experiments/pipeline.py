"""From settings to results: load, split, train, attack, and one row per defense and seed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from selena.auditing.report import AuditReport
from selena.auditing.run import check_attacks, run_audit
from selena.config import override
from selena.data.canaries import CanaryKind, check_canaries, plant_canaries
from selena.data.load import data_digest, load
from selena.data.paper import paper_partition
from selena.data.split import Partition, audit_split
from selena.environment.fingerprint import code_digest, fingerprint
from selena.errors import ConfigError, StoreError
from selena.experiments.copies import warn_of_copies
from selena.experiments.manifest import CaseSettings, DataIdentity, Manifest, Timings
from selena.experiments.numeric_settings import (
    note_numeric_settings,
    numeric_settings,
    report_numeric_differences,
)
from selena.experiments.store import RunFolder
from selena.registry import build_attacks, build_defense, check_installed
from selena.seeding import child_seed
from selena.training.plans import PLANS, Plan
from selena.types import AuditSplit, Dataset, Defense
from selena.workspace import Machines, Progress, Workspace, check_device

Selection = Literal["last", "validation", "paper"]


@dataclass(frozen=True)
class DataSettings:
    """Which records, and how many of them are members.

    Attributes:
        dataset: a registered name, the path of an .npz, .csv or .parquet file, or that of a folder
            or .tar.gz of images.
        data_dir: folder that holds the archive of a data set, instead of downloading it.
        size: number of records of a synthetic set.
        label_column: name of the label column of a .csv or .parquet file.
        subject_column: column (or array) that holds the subject id of each row, or None.
        n_members: number of records the target model trains on; by default the data set's own.
        partition: "default" (see `Partition.of`), or "paper" for the sizes of the paper, which
            set the members too.
        canaries: how many test non-members are turned into canaries, which a coin each makes
            members besides or not; 0 for none.
        canary_kind: "mislabelled", "twins" or "grouped-twins" (see `plant_canaries`).
        canary_distance: how much a twin differs (see `plant_canaries`), or None for very little.
    """

    dataset: str = "purchase100-synthetic"
    data_dir: Path | None = None
    size: int | None = None
    label_column: str = "label"
    subject_column: str | None = None
    n_members: int | None = None
    partition: Literal["default", "paper"] = "default"
    canaries: int = 0
    canary_kind: CanaryKind = "mislabelled"
    canary_distance: float | None = None

    def __post_init__(self) -> None:
        check_canaries(self.canaries, self.canary_kind, self.canary_distance)
        if self.partition == "paper" and self.n_members is not None:
            raise ConfigError(
                "The paper's partition sets the number of members. Leave out n_members."
            )

    def contents(self) -> DataSettings:
        """Return what decides which records there are, without what is done with them."""
        columns = self.label_column, self.subject_column
        return DataSettings(self.dataset, self.data_dir, self.size, *columns)

    def sizes(self, dataset: Dataset) -> Partition:
        """Return the sizes of the parts of `dataset`."""
        if self.partition == "paper":
            return paper_partition(dataset)
        members = dataset.n_members if self.n_members is None else self.n_members
        return Partition.of(len(dataset.records), members)


@dataclass(frozen=True)
class RunSettings:
    """Everything that `selena run` can be told.

    Attributes:
        data: which records.
        defenses: what to train, by name.
        attacks: what to attack with, by name or family.
        seeds: one whole repetition (split, training, attacks) a seed.
        selection: epoch of the weights: the last, the best on validation records, or the
            paper's best on the test set, which leaks evaluation data and which reports flag.
        device: "cpu", "cuda", ...
        workers: processes that train an ensemble's networks on CPUs; 0 for one per core.
        cohort_size: networks of an ensemble that train side by side; 0 for the usual.
        machines: who trains long ensembles.
        plan: changes to the data set's named plan, nested as in `training.plans.Plan`.
        defense_settings: changes to hyperparameters of defenses, by name.
        attack_settings: changes to hyperparameters of attacks, by name.
    """

    data: DataSettings = field(default_factory=DataSettings)
    defenses: tuple[str, ...] = ("undefended", "selena")
    attacks: tuple[str, ...] = ("direct",)
    seeds: tuple[int, ...] = (0,)
    selection: Selection = "last"
    device: str = "cpu"
    workers: int = 0
    cohort_size: int = 0
    machines: Machines = field(default_factory=Machines)
    plan: dict[str, Any] = field(default_factory=dict)
    defense_settings: dict[str, Any] = field(default_factory=dict)
    attack_settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("defenses", "attacks", "seeds"):
            if not getattr(self, name):
                raise ConfigError(f"{name} is empty; give at least one.")
        for name in ("defenses", "seeds"):
            values = getattr(self, name)
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ConfigError(
                    f"{name} holds {', '.join(map(str, twice))} more than once; a repetition needs "
                    "a seed of its own. Give each once."
                )
        for name in ("workers", "cohort_size"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; give at least 1, or 0.")


@dataclass(frozen=True, eq=False)
class Case:
    """One defense with one seed, ready to be trained.

    Attributes:
        data: which records.
        defense: its name.
        seed: root of every draw.
        selection: see `RunSettings`.
        plan: see `RunSettings`.
        defense_settings: see `RunSettings`.
    """

    data: DataSettings
    defense: str
    seed: int
    selection: Selection
    plan: dict[str, Any]
    defense_settings: dict[str, Any]

    @classmethod
    def from_run(cls, run: RunFolder, data_dir: Path | None = None) -> Case:
        """Return the case a run folder was made from; `data_dir` replaces the recorded one.

        Raises:
            StoreError: there is no manifest, or none of this version's settings.
        """
        recorded = run.manifest().settings
        try:
            data = override(DataSettings(), recorded.data)
        except ConfigError as error:
            raise StoreError(f"{run.path}: {error}") from error
        data = replace(data, data_dir=data_dir or data.data_dir)
        return cls(**{**vars(recorded), "data": data})

    def recorded(self) -> CaseSettings:
        """Return plain values, as the manifest keeps them."""
        data_dir = None if self.data.data_dir is None else str(self.data.data_dir)
        return CaseSettings(**{**vars(self), "data": {**asdict(self.data), "data_dir": data_dir}})

    def dataset(self, progress: Progress | None = None) -> Dataset:
        """Load the records."""
        return load_data(self.data.contents(), progress)

    def build_plan(self, dataset: Dataset) -> Plan:
        """Return the data set's named plan with the changes of this case."""
        plan = override(PLANS[dataset.recipe], self.plan, "plan.")
        if self.selection == "last":
            return plan
        return replace(
            plan,
            training=replace(plan.training, selection="validation"),
            distillation=replace(plan.distillation, selection="validation"),
        )

    def split(self, dataset: Dataset) -> AuditSplit:
        """Draw the five sets, and plant canaries if there are to be some."""
        split = audit_split(
            dataset, partition=self.data.sizes(dataset), seed=child_seed(self.seed, "split")
        )
        if not self.data.canaries:
            return split
        return plant_canaries(
            split,
            self.data.canaries,
            self.data.canary_kind,
            num_classes=dataset.num_classes,
            distance=self.data.canary_distance,
            seed=child_seed(self.seed, "canaries"),
        )

    def build_defense(self, dataset: Dataset) -> Defense:
        """Return the unfitted defense."""
        return build_defense(self.defense, self.build_plan(dataset), dataset, self.defense_settings)

    def folder(self, runs: Path, dataset: Dataset) -> RunFolder:
        """Return the run folder that belongs to this case, settings, data and code."""
        plan = self.build_plan(dataset)
        key = fingerprint(
            asdict(data_identity(dataset)),
            self.data.sizes(dataset),
            [self.data.canaries, self.data.canary_kind, self.data.canary_distance],
            self.build_defense(dataset),
            # What attacks take from the plan: an attacker's own Split-AI imitates it.
            [
                plan.network(dataset),
                plan.training,
                plan.shadow_epochs,
                plan.n_submodels,
                plan.n_nonmodels,
                plan.near_duplicates,
            ],
            self.seed,
            self.selection,
            code_digest(),
        )
        name = f"{dataset.name}-{self.defense}-seed{self.seed}-{key[:12]}"
        return RunFolder(runs / name)


_LOADED: dict[DataSettings, Dataset] = {}


def load_data(settings: DataSettings, progress: Progress | None = None) -> Dataset:
    """Load a data set; the last one loaded is remembered."""
    if settings not in _LOADED:
        _LOADED.clear()
        _LOADED[settings] = _load(settings, progress)
    return _LOADED[settings]


def remember_data(case: Case, dataset: Dataset | None) -> None:
    """Let `dataset` be what `case` loads, wherever it comes from; None lets it be loaded again."""
    _LOADED.clear()
    _LOADED.update({} if dataset is None else {case.data.contents(): dataset})


def _load(settings: DataSettings, progress: Progress | None) -> Dataset:
    return load(
        settings.dataset,
        data_dir=settings.data_dir,
        size=settings.size,
        label_column=settings.label_column,
        subject_column=settings.subject_column,
        progress=progress,
    )


def data_identity(dataset: Dataset) -> DataIdentity:
    """Return what tells one data set's contents from another's."""
    return DataIdentity(
        dataset.name,
        records=len(dataset.records),
        classes=dataset.num_classes,
        sha256=data_digest(dataset.records),
        source=dataset.source,
        synthetic=dataset.synthetic,
    )


def cases(settings: RunSettings, seed: int) -> list[Case]:
    """Return one case a defense."""
    return [
        Case(
            settings.data,
            defense,
            seed,
            settings.selection,
            settings.plan,
            settings.defense_settings,
        )
        for defense in settings.defenses
    ]


def check_settings(settings: RunSettings, progress: Progress | None = None) -> None:
    """Build every defense and attack, so that no wrong setting shows after hours of training.

    Raises:
        DataError: records that cannot be had or used.
        ConfigError: a setting out of range, an unknown name, a device or a package that is not
            there, an attack that the features do not suit.
    """
    check_device(settings.device)
    for case in cases(settings, settings.seeds[0]):
        dataset = case.dataset(progress)
        defense, plan = case.build_defense(dataset), case.build_plan(dataset)
        check_installed(defense)
        named = settings.attacks, plan, dataset, settings.attack_settings, defense
        check_attacks(build_attacks(*named))


def train(case: Case, runs: Path, workspace: Workspace) -> RunFolder:
    """Train a case into its run folder under `runs`, or find it there.

    `workspace.folder` keeps finished sub-models and checkpoints; a killed call goes on there.
    A finished run is reused even if it was trained where sums round otherwise. One line of the log
    says what differs, and its manifest keeps the conditions it was trained under.

    Raises:
        StoreError: the run folder was renamed, or its manifest is damaged.
    """
    dataset = case.dataset(workspace.progress)
    run = case.folder(runs, dataset)
    if run.is_trained:
        made = Case.from_run(run)
        if (made.defense, made.seed) != (case.defense, case.seed):
            raise StoreError(
                f"{run.path} holds {made.defense}, seed {made.seed}: it was renamed. Give it its "
                "name back, or delete it."
            )
        report_numeric_differences(run.path, run.manifest().numeric, workspace)
        return run
    note_numeric_settings(workspace)
    split = case.split(dataset)
    warn_of_copies(split)
    # The paper's code selects on the test set. Offered by name only; reports flag it.
    validation = split.evaluation.non_members if case.selection == "paper" else split.validation
    start = time.perf_counter()
    model = case.build_defense(dataset).fit(
        split.train, validation, seed=child_seed(case.seed, "defense"), workspace=workspace
    )
    manifest = Manifest(
        case.recorded(),
        data_identity(dataset),
        # What was asked for, which repetitions share; where subjects stay whole, sizes differ.
        partition={**asdict(case.data.sizes(dataset)), **_planted(case.data)},
        split=split.sizes(),
        numeric=numeric_settings(workspace),
        selected_on_evaluation=case.selection == "paper",
        timings=Timings(time.perf_counter() - start),
    )
    run.save_model(model.state(), manifest)
    return run


def _planted(data: DataSettings) -> dict[str, Any]:
    """Return how many canaries of what kind there are; nothing where there are none."""
    if not data.canaries:
        return {}
    distance = {} if data.canary_distance is None else {"canary_distance": data.canary_distance}
    return {"canaries": data.canaries, "canary_kind": data.canary_kind, **distance}


def attack(
    run: RunFolder,
    attacks: Sequence[str],
    workspace: Workspace,
    *,
    attack_settings: Mapping[str, Any] | None = None,
    data_dir: Path | None = None,
) -> AuditReport:
    """Attack a trained run; scores are kept in its folder and found there again.

    Raises:
        StoreError: the run is half-written or damaged, or its data set has changed.
    """
    manifest = run.manifest()
    case = Case.from_run(run, data_dir)
    dataset = case.dataset(workspace.progress)
    if data_identity(dataset).sha256 != manifest.data.sha256:
        raise StoreError(
            f"{run.path} was trained on other data: {case.data.dataset} now has another hash. "
            "Restore the data or train again."
        )
    plan = case.build_plan(dataset)
    defense, seed = case.build_defense(dataset), child_seed(case.seed, "audit")
    run.discard_damaged_scores()
    kept = Workspace(folder=run.scores_folder)
    report = run_audit(
        run.restore(defense, workspace.torch_device),
        case.split(dataset),
        build_attacks(attacks, plan, dataset, attack_settings, defense),
        seed=seed,
        workspace=workspace,
        kept_scores=kept,
    )
    run.save_audit(report, kept.touched)
    return report
