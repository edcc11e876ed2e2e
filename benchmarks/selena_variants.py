"""Which stage of SELENA tells wrong labels, and what may help, each with its cost in accuracy.

    python -m benchmarks.selena_variants --data-dir downloads --seeds 3 --json FILE

Variants share the sub-models of one Split-AI and differ in what the student learns. Each is
attacked as in `selena reproduce worst-case`, on Location30 at its quick scale.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from selena.defenses.selena import Selena
from selena.defenses.single import fit_single
from selena.defenses.split_ai import SplitAIModel, mean_prediction
from selena.environment.version import __version__
from selena.experiments.paper.task import QUICK, PaperTask
from selena.experiments.paper.worst_case import SIZES, WorstCase
from selena.experiments.paper.worst_case_figures import figures
from selena.experiments.paper.worst_case_models import pool_models, train_pool
from selena.files.writing import write_json
from selena.registry import build_defense
from selena.seeding import child_seed
from selena.training.forward import Forward
from selena.training.losses import per_example_loss
from selena.types import Records, TargetModel
from selena.workspace import Workspace

SHOWN = ("ordinary", "mislabelled", "near copy", "exact duplicate")


@dataclass(frozen=True)
class MixedQueries:
    """Distillation on pairs of members, mixed as MixUp mixes them, and their soft labels."""

    def __call__(
        self, network: Forward, x: Tensor, target: Tensor, *, epoch: int
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        share = torch.rand(len(x), 1)
        partner = torch.randperm(len(x))
        soft = share * target + (1 - share) * target[partner]
        mixed = share * x + (1 - share) * x[partner]
        return per_example_loss(network(mixed), soft, "cross_entropy").mean()


@dataclass(frozen=True)
class DroppedBits:
    """Distillation on members that lose each bit with probability `rate`, anew in each step."""

    rate: float

    def __call__(
        self, network: Forward, x: Tensor, target: Tensor, *, epoch: int
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        kept = x * (torch.rand(x.shape) >= self.rate)
        return per_example_loss(network(kept), target, "cross_entropy").mean()


@dataclass(frozen=True)
class Variant:
    """SELENA with another second stage.

    Attributes:
        base: sizes, network and recipes.
        name: one of `VARIANTS`.
        kept: folder for sub-models, which variants share.
    """

    base: Selena
    name: str
    kept: Path

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int,
        workspace: Workspace | None = None,
    ) -> TargetModel:
        """Train the Split-AI, or find it in `kept`, and the student."""
        here = Workspace(folder=self.kept)
        teacher = self.base.split_ai.fit(train, validation, seed=seed, workspace=here)
        sets, classes = teacher.sets, self.base.num_classes
        soft = mean_prediction(teacher.submodels, train.x, sets, classes, "cpu")
        return VARIANTS[self.name](self.base, teacher, train, soft, validation, child_seed(seed, 2))


def student(
    base: Selena, train: Records, soft: Tensor, validation: Records, seed: int, loss: Any = None
) -> TargetModel:
    """Distil a student from soft labels."""
    recipe = base.distillation if loss is None else replace(base.distillation, loss=loss)
    made = (base.network, base.num_classes, recipe, train, validation)
    return fit_single(*made, name="student", seed=seed, targets=soft)


Second = Callable[[Selena, SplitAIModel, Records, Tensor, Records, int], TargetModel]


def _flat_tails(base, teacher, train, soft, validation, seed):  # type: ignore[no-untyped-def]
    """The likeliest class keeps its probability; the others share what is left evenly."""
    top, label = soft.max(dim=1, keepdim=True)
    flat = ((1 - top) / (soft.shape[1] - 1)).expand_as(soft).scatter(1, label, top)
    return student(base, train, flat, validation, seed)


def _without_doubtful(share: float) -> Second:
    """The members whose label the ensemble finds least likely are left out of distillation."""

    def second(base, teacher, train, soft, validation, seed):  # type: ignore[no-untyped-def]
        of_label = soft.gather(1, train.y[:, None]).squeeze(1)
        rows = of_label.argsort()[round(share * len(train)) :].sort().values
        return student(base, train.take(rows), soft[rows], validation, seed)

    return second


def _held_out(base, teacher, train, soft, validation, seed):  # type: ignore[no-untyped-def]
    """The student learns the ensemble's answers to validation records, and meets no member."""
    answers = teacher.logits(validation.x).softmax(dim=1)
    return student(base, validation, answers, validation, seed)


def _both(base, teacher, train, soft, validation, seed):  # type: ignore[no-untyped-def]
    """The student learns on mixed pairs of validation records."""
    answers = teacher.logits(validation.x).softmax(dim=1)
    return student(base, validation, answers, validation, seed, MixedQueries())


def _two_generations(base, teacher, train, soft, validation, seed):  # type: ignore[no-untyped-def]
    first = student(base, train, soft, validation, seed)
    again = first.logits(train.x).softmax(dim=1)
    return student(base, train, again, validation, child_seed(seed, "again"))


VARIANTS: dict[str, Second] = {
    "SELENA": lambda b, t, x, s, v, seed: student(b, x, s, v, seed),
    "Split-AI alone": lambda b, t, x, s, v, seed: t,
    "held-out queries": _held_out,
    "doubtful 10 % left out": _without_doubtful(0.1),
    "mixed queries": lambda b, t, x, s, v, seed: student(b, x, s, v, seed, MixedQueries()),
    "flat tails": _flat_tails,
    "doubtful 30 % left out": _without_doubtful(0.3),
    "dropped bits, 30 %": lambda b, t, x, s, v, seed: student(b, x, s, v, seed, DroppedBits(0.3)),
    "two generations": _two_generations,
    "held-out queries, mixed": _both,
}


def write(path: Path, worst: WorstCase, rows: list[dict[str, Any]]) -> None:
    """Write what is known so far: each variant is worth having alone."""
    command = shlex.join(["python", "-m", "benchmarks.selena_variants", *sys.argv[1:]])
    write_json(
        path,
        {
            "schema": "selena-variants/1",
            "command": command,
            "version": __version__,
            "settings": {**worst.task.describe(), "sizes": asdict(worst.sizes)},
            "rows": rows,
        },
    )


def main() -> None:
    """Train and attack every variant, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--json", type=Path, required=True)
    given = parser.parse_args()
    task = PaperTask("location30", QUICK, tuple(range(given.seeds)), given.data_dir)
    worst, data = WorstCase(task, SIZES["quick"]), task.load()
    plan, _ = worst.plan_of(data)
    workspace, rows = worst.workspace(given.runs), []
    for seed in task.seeds:
        arena = worst.arena(data, seed)
        larger = ((f"L = {each}", each) for each in (7, 8, 9))
        for label, non_models in [*((name, 4) for name in VARIANTS), *larger]:
            base = build_defense("selena", plan, data, {"selena": {"n_nonmodels": non_models}})
            assert isinstance(base, Selena)
            name = label if label in VARIANTS else "SELENA"
            defense: Any = Variant(base, name, given.runs / "artifacts" / "sub-models")
            answers = train_pool(pool_models(label, defense, arena), arena, workspace)
            found = figures(answers, arena, worst.sizes.fpr)
            kinds = {
                a: {k: asdict(v) for k, v in of.items() if k in SHOWN} for a, of in found.items()
            }
            accuracy = fmean(answers.accuracies)
            rows.append({"variant": label, "seed": seed, "test_accuracy": accuracy, **kinds})
            shown = {k: round(v["auc"], 3) for k, v in kinds["lira"].items()}
            print(f"seed {seed}, {label}: accuracy {accuracy:.3f}, LiRA's AUC {shown}", flush=True)
            write(given.json, worst, rows)


if __name__ == "__main__":
    main()
