"""Split-AI and the whole of SELENA at Purchase100's size, against plain sequential training.

    python -m benchmarks.training [--k K] [--part P] [--repeats N] [--only STAGE ...] [--json FILE]

`split_ai_training` compares training alone, of fewer networks for fewer epochs, and so does
`resnet_training` of small residual networks on images. `selena_end_to_end` adds to the plain side
what the published protocol does besides: after every epoch it evaluates on the network's own
records, on those it left out and on all test records; and in distillation it loads every sub-model
from disk for every batch. Both sides first train a part of the paper's schedule (30 epochs, and 60
of distillation) and must end with equally accurate students. Then ours trains the whole of it; for
the plain side, which would take more than an hour, the time of its epochs is multiplied, for each
costs what the first does.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from joblib import cpu_count
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import plain_training as plain
from benchmarks.rates import matmul_rate
from benchmarks.turns import common_options, take_turns, tell, timed
from selena.data import audit_split, load
from selena.defenses.selena import Selena
from selena.defenses.split_ai import draw_non_model_sets
from selena.environment.processor import has_fast_bfloat16
from selena.networks import NetworkFactory
from selena.networks.mlp import MLP
from selena.networks.resnet import CIFAR10_MEAN, CIFAR10_STD, small_resnet
from selena.seeding import child_seed, torch_generator
from selena.training import executor
from selena.training.batches import as_input
from selena.training.engine import fit_networks
from selena.training.inference import accuracy, predict
from selena.training.job import Examples, Job
from selena.training.model import NetworkModel
from selena.training.recipe import Recipe
from selena.types import AuditSplit
from selena.workspace import Workspace

SEED, CLASSES, NETWORK = 0, 100, MLP(600, 100)
_IMAGES, _SHADES = 1_024, 10
EPOCHS = 30  # of the paper for Purchase100; twice that of distillation
T = TypeVar("T")
# Networks of this size train one at a time on processors; to measure that is done once a machine.
POOL = Workspace(workers=0, cohort_size=1)
# Probabilities of networks that differ by rounding alone, after an epoch.
TOLERANCE = 5e-3
# Test accuracy of bf16 and of float32; two seeds differ by as much.
ACCURACY_TOLERANCE = 0.03


def operations(network: MLP) -> int:
    """Return the operations of one record's forward and backward pass.

    Three products per layer (output, gradient of weights, gradient of input), except for the first
    layer's gradient of its input, which nobody needs.
    """
    widths = [network.in_features, *network.hidden, network.num_classes]
    products = [a * b for a, b in itertools.pairwise(widths)]
    return 2 * (3 * sum(products) - products[0])


def split_ai_training(split: AuditSplit, k: int, epochs: int, repeats: int) -> dict[str, Any]:
    """Return the stage: `k` sub-models of the paper's network."""
    members, others = split.train, split.evaluation.non_members
    sets = draw_non_model_sets(members, k, max(1, round(0.4 * k)), seed=SEED)
    jobs = [
        Job(f"submodel-{i}", sets.training_rows(i), child_seed(SEED, "submodel", i))
        for i in range(k)
    ]
    return {
        **training_stage(
            NETWORK,
            Examples(members.x, members.y),
            Examples(others.x, others.y),
            jobs,
            Recipe(epochs=epochs),
            operations(NETWORK),
            repeats,
        ),
        "networks": k,
    }


def resnet_training(k: int, epochs: int, repeats: int) -> dict[str, Any]:
    """Return the stage: `k` small residual networks, whose classes are shades of noise."""
    draws = torch_generator(SEED, "images")
    y = torch.randint(0, _SHADES, (2 * _IMAGES,), generator=draws)
    noise = torch.randint(0, 200, (len(y), 3, 32, 32), generator=draws)
    x = (noise + 5 * y[:, None, None, None]).to(torch.uint8)
    factory = small_resnet(_SHADES, CIFAR10_MEAN, CIFAR10_STD)
    with FlopCounterMode(display=False) as counter:
        factory()(torch.rand(2, 3, 32, 32)).sum().backward()
    jobs = [Job(f"{i}", torch.arange(_IMAGES), child_seed(SEED, "resnet", i)) for i in range(k)]
    return {
        **training_stage(
            factory,
            Examples(x[:_IMAGES], y[:_IMAGES]),
            Examples(x[_IMAGES:], y[_IMAGES:]),
            jobs,
            Recipe(epochs=epochs, batch_size=128),
            counter.get_total_flops() // 2,
            repeats,
        ),
        "networks": k,
    }


def training_stage(
    factory: NetworkFactory,
    known: Examples,
    others: Examples,
    jobs: list[Job],
    recipe: Recipe,
    operations_a_record: int,
    repeats: int,
) -> dict[str, Any]:
    """Return what training takes; both sides are timed in turn.

    Raises:
        AssertionError: the networks are not the same in float32, or worse in bf16.
    """
    x, y = as_input(known.x), known.target

    def ours(recipe: Recipe) -> list[nn.Module]:
        return fit_networks(factory, known, jobs, recipe, workspace=POOL)

    def theirs(recipe: Recipe) -> list[nn.Module]:
        return [plain.train(factory, x, lambda rows: y[rows], job, recipe) for job in jobs]

    one_epoch = replace(recipe, epochs=1, precision="float32")
    for one, other in zip(ours(one_epoch), theirs(one_epoch), strict=True):
        answers = (predict(network, others.x).softmax(dim=1) for network in (one, other))
        torch.testing.assert_close(*answers, rtol=0, atol=TOLERANCE)
    done = operations_a_record * recipe.epochs * sum(len(job.rows) for job in jobs)
    stage, fast, slow = take_turns(
        lambda: ours(recipe), lambda: theirs(recipe), done, compute_dtype(), repeats
    )
    gap = [
        accuracy(one, others, torch.device("cpu")) - accuracy(other, others, torch.device("cpu"))
        for one, other in zip(fast, slow, strict=True)
    ]
    assert abs(sum(gap) / len(gap)) < ACCURACY_TOLERANCE, f"accuracies differ by {gap}"
    return {**stage, "epochs": recipe.epochs, "accuracy_gap": sum(gap) / len(gap)}


def selena_end_to_end(split: AuditSplit, k: int, part: int) -> dict[str, Any]:
    """Return the stage: Split-AI, soft labels and distillation, `part` times the paper's epochs.

    Raises:
        AssertionError: the protected models differ in test accuracy.
    """
    others = split.evaluation.non_members

    def protect(selena: Selena) -> NetworkModel:
        return selena.fit(split.train, split.validation, seed=SEED, workspace=POOL)

    def defense(epochs: int) -> Selena:
        return Selena(
            NETWORK,
            CLASSES,
            Recipe(epochs=epochs),
            Recipe(epochs=2 * epochs),
            n_submodels=k,
            n_nonmodels=max(1, round(0.4 * k)),
        )

    shortened = defense(EPOCHS // part)
    model, seconds = timed(lambda: protect(shortened))
    (student, in_epochs), baseline = timed(lambda: published(split, shortened))
    gap = accuracy(model.network, Examples(others.x, others.y), torch.device("cpu"))
    gap -= plain.accuracy(student, others.x, others.y)
    assert abs(gap) < ACCURACY_TOLERANCE, f"accuracies differ by {gap}"
    rate = matmul_rate(compute_dtype())
    _, whole = timed(lambda: protect(defense(EPOCHS)))
    whole_baseline = baseline + (part - 1) * in_epochs
    records = len(split.train)
    seen = records * (shortened.n_submodels - shortened.n_nonmodels) * EPOCHS + records * 2 * EPOCHS
    return {
        "ratio": whole_baseline / whole,
        # Of the training alone: what the soft labels take is counted as lost.
        "utilisation": operations(NETWORK) * seen / whole / rate,
        "seconds": whole,
        "baseline_seconds": whole_baseline,
        "baseline_part": 1 / part,
        "ratio_of_part": baseline / seconds,
        "networks": k,
        "epochs": EPOCHS,
        "accuracy_gap": gap,
    }


def published(split: AuditSplit, selena: Selena) -> tuple[nn.Module, float]:
    """Return the student of the published protocol, which evaluates as it trains.

    Returns:
        The student, and the seconds of all epochs: what a longer schedule multiplies.
    """
    members, others = split.train, split.evaluation.non_members
    x, y = members.x.float(), members.y
    excluded = draw_non_model_sets(
        members, selena.n_submodels, selena.n_nonmodels, seed=SEED
    ).excluded
    in_epochs = 0.0

    def evaluate(network: nn.Module, job: Job) -> None:
        left_out = torch.ones(len(x), dtype=torch.bool)
        left_out[job.rows] = False
        for rows in (job.rows, left_out):
            if len(y[rows]):
                plain.accuracy(network, x[rows], y[rows])
        plain.accuracy(network, others.x, others.y)

    def train(targets: plain.Targets, job: Job, recipe: Recipe) -> nn.Module:
        nonlocal in_epochs
        network, seconds = timed(lambda: plain.train(NETWORK, x, targets, job, recipe, evaluate))
        in_epochs += seconds
        return network

    with tempfile.TemporaryDirectory() as folder:
        checkpoints = []
        for i, out in enumerate(excluded.T):
            job = Job(f"{i}", torch.nonzero(~out).squeeze(1), child_seed(SEED, "submodel", i))
            checkpoints.append(Path(folder) / f"{i}.pt")
            network = train(lambda rows: y[rows], job, selena.recipe)
            torch.save(network.state_dict(), checkpoints[-1])
        soft_labels = plain.soft_labels_from_disk(NETWORK, x, checkpoints, excluded)
        student = Job("student", torch.arange(len(x)), child_seed(SEED, "student"))
        return train(soft_labels, student, selena.distillation), in_epochs


def compute_dtype() -> torch.dtype:
    return torch.bfloat16 if has_fast_bfloat16(torch.device("cpu")) else torch.float32


def warm_up(split: AuditSplit) -> None:
    """Start the pool's processes and let PyTorch choose its kernels."""
    rows = torch.arange(1024)
    jobs = [Job(f"{i}", rows, i) for i in range(2 * cpu_count())]
    examples = Examples(split.train.x, split.train.y)
    fit_networks(NETWORK, examples, jobs, Recipe(epochs=1), workspace=POOL)
    plain.train(
        NETWORK, split.train.x.float(), lambda r: split.train.y[r], jobs[0], Recipe(epochs=1)
    )


STAGES: dict[str, Callable[[AuditSplit, int, int, int], dict[str, Any]]] = {
    "resnet_training": lambda _split, _k, _part, repeats: resnet_training(4, 2, repeats),
    "split_ai_training": lambda split, k, part, repeats: split_ai_training(
        split, min(k, 6), 2 * EPOCHS // part, repeats
    ),
    "selena_end_to_end": lambda split, k, part, _repeats: selena_end_to_end(split, k, part),
}


def run(
    k: int = 25, part: int = 10, repeats: int = 5, only: Sequence[str] = tuple(STAGES)
) -> dict[str, Any]:
    """Return the stages, as `benchmarks.attacks.run` does; `k` networks end to end."""
    executor._WORTH_PROCESSES = 0  # a part of the schedule is short, the whole one is not
    split = audit_split(load("purchase100-synthetic"), seed=SEED)
    warm_up(split)
    return {"stages": {name: STAGES[name](split, k, part, repeats) for name in only}}


def main() -> None:
    parser = common_options(__doc__, STAGES, repeats=5)
    parser.add_argument("--k", type=int, default=25)
    parser.add_argument("--part", type=int, default=10)
    options = parser.parse_args()
    tell(
        run(options.k, options.part, options.repeats, options.only),
        "training",
        options.json,
    )


if __name__ == "__main__":
    main()
