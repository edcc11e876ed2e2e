"""The task of a reproduction: data set, scale, seeds, and the settings of every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from selena.config import merged
from selena.data.paper import paper_partition
from selena.errors import ConfigError, unknown_name
from selena.experiments.pipeline import Case, DataSettings, RunSettings, load_data
from selena.types import Dataset
from selena.workspace import Machines, Progress


@dataclass(frozen=True)
class Scale:
    """The scale of a reproduction.

    Attributes:
        name: its name in outputs.
        paper_partition: whether to use the paper's sizes, if it uses the data set.
        members: most records that the target model trains on; None for the data set's own.
        size: number of records of a synthetic set; None for as many as the real set has.
        plan: changes to the data set's named plan, nested as in `training.plans.Plan`.
        image_plan: further changes for images.
        image_members: most members for images; None for `members`.
        image_label_only: label-only attacks on images, by name or family; the paper counts
            distances by Carlini and Wagner among them.
        defense_settings: changes to hyperparameters of defenses, by name.
        attack_settings: changes to hyperparameters of attacks, by name.
        ablation_k: numbers K of sub-models to compare, each with L = 0.4 K.
        ablation_l: numbers L of non-models to compare, at the K of the plan.
    """

    name: str
    paper_partition: bool = False
    members: int | None = None
    size: int | None = None
    plan: dict[str, Any] = field(default_factory=dict)
    image_plan: dict[str, Any] = field(default_factory=dict)
    image_members: int | None = None
    image_label_only: tuple[str, ...] = ("label-only", "boundary")
    defense_settings: dict[str, Any] = field(default_factory=dict)
    attack_settings: dict[str, Any] = field(default_factory=dict)
    ablation_k: tuple[int, ...] = (5, 10, 15, 25, 35)
    ablation_l: tuple[int, ...] = (2, 5, 10, 15, 20)


PAPER = Scale("paper", paper_partition=True)

_FEW_STEPS: dict[str, Any] = {
    "batch_size": 64,
    "epochs": 12,
    "warmup_epochs": 2,
    "milestones": (),
    "schedule": "one_cycle",
    "augmentation": "none",
}

# Small enough for ten minutes on two cores, large enough that defenses differ.
QUICK = Scale(
    "quick",
    members=2_500,
    size=10_000,
    plan={
        "n_submodels": 10,
        "n_nonmodels": 4,
        "training": {"batch_size": 128, "epochs": 20},
        "distillation": {"batch_size": 128, "epochs": 40},
        "adversary": {"attack_batches": 5},
    },
    # No augmentation: in so few epochs a network would not memorize changed images.
    image_plan={
        "architecture": "small_resnet",
        "training": _FEW_STEPS,
        "distillation": _FEW_STEPS,
        # With CIFAR-100's alpha of 6, so short a game gives no useful accuracy.
        "adversary": {"alpha": 1.0},
    },
    image_members=5_000,
    image_label_only=("augmentation", "gaussian_noise", "boundary"),
    attack_settings={
        "flip_noise": {"flips": (1, 2, 4, 8, 16, 30), "copies": 25},
        "gaussian_noise": {"sigmas": (0.1, 0.3, 1.0), "copies": 16},
        "boundary": {"steps": 15, "searches": 2},
        "neural": {"epochs": 60},
        "shadow_neural_difference": {"network": {"epochs": 60}},
        "shadow_neural_both": {"network": {"epochs": 60}},
    },
    ablation_k=(3, 5, 10, 15),
    ablation_l=(2, 4, 6, 8),
)

SCALES = {scale.name: scale for scale in (QUICK, PAPER)}


def scale_named(name: str) -> Scale:
    """Return the scale called `name`.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in SCALES:
        raise unknown_name("scale", name, SCALES)
    return SCALES[name]


@dataclass(frozen=True)
class PaperTask:
    """What to reproduce.

    Attributes:
        dataset: a registered name, or the path of a file.
        scale: its scale.
        seeds: one repetition (split, training, attacks) per seed.
        data_dir: folder that holds the data set's archive.
        device: "cpu", "cuda", ...
        machines: which machines train long ensembles.
    """

    dataset: str = "purchase100-synthetic"
    scale: Scale = QUICK
    seeds: tuple[int, ...] = (0,)
    data_dir: Path | None = None
    device: str = "cpu"
    machines: Machines = field(default_factory=Machines)

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ConfigError("There is no seed; give at least one.")

    def load(self, progress: Progress | None = None) -> Dataset:
        """Return the records; the last data set loaded is remembered."""
        return load_data(self._records, progress)

    def settings(self, defenses: Sequence[str], **plan: Any) -> RunSettings:
        """Return the settings of runs of `defenses`, with changes to the plan on top."""
        dataset, scale = self.load(), self.scale
        if scale.paper_partition and _has_paper_partition(dataset):
            data = replace(self._records, partition="paper")
        elif (members := self._most_members) is not None:
            data = replace(self._records, n_members=min(members, dataset.n_members))
        else:
            data = self._records
        changes = scale.plan
        if dataset.features == "image":
            changes = merged(changes, scale.image_plan)
        return RunSettings(
            data=data,
            defenses=tuple(defenses),
            seeds=self.seeds,
            device=self.device,
            machines=self.machines,
            plan=merged(changes, plan),
            defense_settings=scale.defense_settings,
            attack_settings=scale.attack_settings,
        )

    @property
    def label_only(self) -> tuple[str, ...]:
        """The label-only attacks, by name or family."""
        images = self.load().features == "image"
        return self.scale.image_label_only if images else ("label-only",)

    @property
    def _most_members(self) -> int | None:
        images = self.load().features == "image"
        return (images and self.scale.image_members) or self.scale.members

    @property
    def _records(self) -> DataSettings:
        synthetic = self.dataset.endswith("-synthetic")
        return DataSettings(self.dataset, self.data_dir, self.scale.size if synthetic else None)

    def describe(self) -> dict[str, Any]:
        """Return all settings and the resulting sizes, as plain values."""
        dataset = self.load()
        sizes = asdict(self.settings(["undefended"]).data.sizes(dataset))
        return {
            "dataset": dataset.name,
            "source": dataset.source,
            "synthetic": dataset.synthetic,
            "records": len(dataset.records),
            **sizes,
            "seeds": list(self.seeds),
            "device": self.device,
            "scale": asdict(self.scale),
        }


@dataclass(frozen=True, eq=False)
class Item:
    """One model to train and attack.

    Attributes:
        label: its name in progress messages.
        case: what to train.
        attacks: names or families.
        bundle: name shared by items with common artifacts, which are deleted after the last item.
    """

    label: str
    case: Case
    attacks: tuple[str, ...]
    bundle: str


def _has_paper_partition(dataset: Dataset) -> bool:
    try:
        paper_partition(dataset)
    except ConfigError:
        return False
    return True
