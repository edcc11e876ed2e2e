"""The paper's published code beside the library, on the same members and known records.

    python -m benchmarks.published_code data FOLDER --seed 0
    python -m benchmarks.published_code ours runs/published-code/ours/0.json --seed 0 [--adaptive]
    python -m benchmarks.published_code compare --theirs FOLDER --ours FOLDER \
        [--out results/published-code.json] [--page docs/reference-checks.md]

The published code is github.com/inspire-group/MIAdefenseSELENA, commit 855c627 (August 2022). None
of it is here; `compare` reads what a run of it left. How that run is made:

1. Left out is the line of `purchase/SELENA/Distillation/train.py` that reads a setting which its
   parser does not have. `AdvReg/eval.py` takes the network of epoch 30, the last, in place of 7.
   `env.yml` names the folders. Nothing else is changed, and it runs on CPUs.
2. `data` writes the arrays that its scripts read (`purchase/data/partition/*.npy`), in place of its
   own script that draws them. So both sides have the same members, known and scored records.
3. In their folders, with NumPy and PyTorch seeded by the seed: `Undefend/train.py`,
   `AdvReg/train.py`, `SELENA/generation10.py`, `SELENA/Split_AI/train.py`,
   `SELENA/Distillation/train.py`, each training with `--batch_size 128`, then the `eval.py` of each
   folder, with `--flip_range 10 --nruns 30` where it has these options. For `--adaptive` besides
   the three scripts of `SELENA/adaptive_attack`, training again with `--batch_size 128`.
4. A wrapper around its attack functions keeps, per row of the table, `FOLDER/SEED/ROW.npz`
   (`probabilities`, `labels`, and `sizes`: how many of them are known members, scored members,
   known non-members, scored non-members) and `FOLDER/SEED/ROW.json` (`train_accuracy`,
   `test_accuracy`, `direct`, `neural_best_epoch`, `neural_last_epoch`, `label_only`, `seconds`; in
   `adaptive.json` the two networks' `*_best` and `*_last` epochs, and `thresholds`, pairs of
   global and per-class accuracies). `adversarial_regularization.json` has under `epoch_7` the same
   keys except `label_only`, of the network that its `eval.py` names. The second run of the direct
   attacks, which its label-only script makes to check the first, is left out.

Where a run is gone, its row of an earlier result stands in: on their side as `ROW.json` alone, on
ours in a file of rows.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.page import how_made, renewed
from selena import Predictions, audit
from selena.attacks.flip_noise import FlipNoiseAttack
from selena.auditing.report import AuditReport
from selena.auditing.run import run_audit
from selena.data.load import load
from selena.data.split import Partition, audit_split
from selena.files.writing import write_json
from selena.registry import build_attacks, build_defense
from selena.seeding import child_seed
from selena.training.plans import PLANS, Plan
from selena.types import Attack, AuditSplit, Dataset, Family, concatenate
from selena.workspace import Workspace

Row = dict[str, Any]

PUBLISHED = "inspire-group/MIAdefenseSELENA, commit 855c62764e9502c3d043661191bf117e351f56c0"
RECORDS = 20_000
SIZES = Partition(members=2_000, reference=1_000, validation=16_000)
BATCH, FLIPS, COPIES = 128, range(1, 11), 30
GAME_EPOCHS = 55
ROWS = ("undefended", "split_ai", "selena", "adversarial_regularization")
# The published code does not look for near copies.
SETTINGS = {each: {"near_duplicates": "exact"} for each in ("split_ai", "selena")}
SIGNALS = ("correctness", "confidence", "entropy", "modified_entropy")
FAMILIES: tuple[Family, ...] = ("direct", "label-only", "adaptive")
ADAPTIVE = (
    "shadow_cross_entropy",
    "shadow_squared_l2",
    "shadow_neural_difference",
    "shadow_neural_both",
)
BEGIN, END = "<!-- published: python -m benchmarks.published_code -->", "<!-- / -->"


def task(seed: int) -> tuple[Dataset, AuditSplit]:
    """Return the records and their split; validation records are in neither side's hands."""
    data = load("purchase100-synthetic", size=RECORDS)
    return data, audit_split(data, partition=SIZES, seed=seed)


def write_data(folder: Path, seed: int) -> None:
    """Write the arrays of the split under the names that the published scripts read."""
    _, split = task(seed)
    place = folder / "purchase/data/partition"
    place.mkdir(parents=True, exist_ok=True)
    known, scored = split.known, split.evaluation
    for name, records in {
        "tr": known.members,
        "te": scored.members,
        "train": concatenate(known.members, scored.members),
        "ref": known.non_members,
        "test": scored.non_members,
        "all_test": concatenate(known.non_members, scored.non_members),
    }.items():
        np.save(place / f"{name}_data.npy", records.x.numpy().astype(np.float64))
        np.save(place / f"{name}_label.npy", records.y.numpy().astype(np.int32))


def matched_plan(row: str) -> Plan:
    """Return the paper's plan of a row as the published code runs it here: its batch, its epoch.

    The epoch is the one that is best on scored non-members, except for adversarial regularization:
    before its adversary has learned anything the classifier is best, so the last epoch is taken.
    A turn of its published game has two steps of the classifier and ends the adversary's steps
    with the smaller side's records, here 1,000. So an epoch has 30 steps of the classifier and 48
    of the adversary. `GAME_EPOCHS` of the library are as long as its 30 (886 and 880 steps of the
    classifier), and 2 steps of the adversary per step are the nearest whole number.
    """
    plan = PLANS["purchase100"]
    changes: dict[str, Any] = {
        "batch_size": BATCH,
        "selection": "validation",
        "precision": "float32",
    }
    plan = replace(
        plan,
        training=replace(plan.training, **changes),
        distillation=replace(plan.distillation, **changes),
    )
    if row != "adversarial_regularization":
        return plan
    return replace(
        plan,
        training=replace(plan.training, epochs=GAME_EPOCHS, selection="last"),
        adversary=replace(plan.adversary, attack_batches=2),
    )


def attacks_on(row: str, plan: Plan, data: Dataset, adaptive: bool) -> list[Attack]:
    """Return the attacks of a row; every number of flips is an attack of its own."""
    settings = {"neural": {"batch_size": 512}}
    found = build_attacks([*SIGNALS, "neural"], plan, data, settings)
    if row != "split_ai":
        found += [FlipNoiseAttack(flips, copies=COPIES) for flips in FLIPS]
    if row == "selena" and adaptive:
        found += build_attacks(ADAPTIVE, plan, data)
    return found


def figures(report: AuditReport) -> Row:
    """Return a report's accuracies, and per family the best attack by either choice."""
    found: Row = {
        "train_accuracy": report.train_accuracy.value,
        "test_accuracy": report.test_accuracy.value,
        "families": {},
    }
    for family in report.families:
        figure = report.figure("balanced_accuracy", family)
        name, summary = report.strongest_on_evaluation(family)
        found["families"][family] = {
            "on_known": {
                "value": figure.value,
                "interval": list(figure.interval),
                "attack": figure.attack,
            },
            "on_scored": {"value": summary.balanced_accuracy, "attack": name},
        }
    return found


def train_ours(seed: int, adaptive: bool, rows: Sequence[str] = ROWS) -> list[Row]:
    """Train and attack every row with the library.

    The epoch is the one that the published code takes (`matched_plan`). The library's own default
    is the last epoch.
    """
    data, split = task(seed)
    found = []
    with tempfile.TemporaryDirectory() as folder:  # so that SELENA finds its Split-AI again
        workspace = Workspace(folder=Path(folder))
        for row in rows:
            plan, start = matched_plan(row), time.process_time()
            target = build_defense(row, plan, data, SETTINGS).fit(
                split.train,
                split.evaluation.non_members,
                seed=child_seed(seed, "defense"),
                workspace=workspace,
            )
            trained = time.process_time()
            attacks = attacks_on(row, plan, data, adaptive)
            report = run_audit(target, split, attacks, seed=seed, workspace=workspace)
            seconds = {
                "training_seconds": trained - start,
                "attack_seconds": time.process_time() - trained,
            }
            found.append({"row": row, "seed": seed, **figures(report), **seconds})
            print(json.dumps(found[-1]), flush=True)
    return found


def read_theirs(folder: Path) -> list[Row]:
    """Return the published code's figures, and the library's thresholds on its models' answers."""
    found = []
    for seed in sorted(int(each.name) for each in folder.iterdir() if each.is_dir()):
        for row in ROWS:
            place = folder / str(seed) / f"{row}.json"
            if not place.exists():
                continue
            said = json.loads(place.read_text("utf-8"))
            said.pop("flips", None)
            if "our_attacks_on_it" in said:
                found.append(said)
                continue
            adaptive = folder / str(seed) / "adaptive.json"
            if row == "selena" and adaptive.exists():
                said["adaptive"] = strongest_adaptive(json.loads(adaptive.read_text("utf-8")))
            with np.load(place.with_suffix(".npz")) as answers:
                audited = audit(predictions(**answers), attacks=SIGNALS, seed=seed)
            ours = figures(audited)["families"]["direct"]
            found.append({"row": row, "seed": seed, **said, "our_attacks_on_it": ours})
    return found


def predictions(probabilities: np.ndarray, labels: np.ndarray, sizes: np.ndarray) -> Predictions:
    """Return answers for known members, scored members, known and scored non-members, in turn."""
    member = np.repeat([True, True, False, False], sizes)
    known = np.repeat([True, False, True, False], sizes)
    return Predictions(probabilities, labels, member, known)


def strongest_adaptive(said: Row) -> Row:
    """Return the best adaptive attack at its best epoch, and at the last one."""
    thresholds = max(max(pair) for pair in said["thresholds"])
    return {
        how: max(thresholds, said[f"difference_{how}"], said[f"both_{how}"])
        for how in ("best", "last")
    }


def values_of(row: str, theirs: Sequence[Row], ours: Sequence[Row]) -> list[tuple[str, list[Any]]]:
    """Return per figure of a row: published code, the library by the same choice, by its own.

    Each is a list over seeds; figures that both sides lack are left out.
    """
    left = [each for each in theirs if each["row"] == row]
    right = [each for each in ours if each["row"] == row]
    lines = [
        (name, [[each[key] for each in side] for side in (left, right)] + [[]])
        for name, key in (("train accuracy", "train_accuracy"), ("test accuracy", "test_accuracy"))
    ]
    answered = [each["our_attacks_on_it"] for each in left]
    lines.append(
        (
            "direct; the library's thresholds on the published code's models",
            [
                [each["direct"] for each in left],
                [each["on_scored"]["value"] for each in answered],
                [each["on_known"] for each in answered],
            ],
        )
    )
    for family in FAMILIES:
        key = family.replace("-", "_")
        said = [each[key] for each in left if key in each]
        found = [each["families"][family] for each in right if family in each["families"]]
        published = [each["best"] if isinstance(each, dict) else each for each in said]
        scored = [each["on_scored"]["value"] for each in found]
        lines.append((family, [published, scored, [each["on_known"] for each in found]]))
    return [line for line in lines if any(line[1])]


def shown(values: Sequence[Any]) -> str:
    """Return mean and standard deviation over seeds in percent; of one seed an interval, if any."""
    if not values:
        return "–"
    numbers = [100 * (each["value"] if isinstance(each, dict) else each) for each in values]
    mean = f"{np.mean(numbers) + 1e-9:.1f}"  # 83.85 is not exact: round half up on both sides
    if len(numbers) > 1:
        return f"{mean} ± {np.std(numbers, ddof=1):.1f}"
    if isinstance(values[0], dict):
        low, high = (100 * end for end in values[0]["interval"])
        return f"{mean} ({low:.1f} to {high:.1f})"
    return mean


def table(theirs: Sequence[Row], ours: Sequence[Row]) -> str:
    """Return the figures of both sides as Markdown, in percent."""
    lines = [
        "| row | figure | seeds | published code | library, chosen on scored records "
        "| library, chosen on known records |",
        "|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        for name, columns in values_of(row, theirs, ours):
            seeds = "/".join(str(len(each)) for each in columns[:2])
            lines.append(f"| {row} | {name} | {seeds} | {' | '.join(map(shown, columns))} |")
    return "\n".join(lines)


def fill(page: str, theirs: Sequence[Row], ours: Sequence[Row]) -> str:
    """Return the page with its table renewed."""
    return renewed(page, BEGIN, table(theirs, ours), END)


def compare(options: argparse.Namespace) -> None:
    theirs = read_theirs(options.theirs)
    kept = [json.loads(path.read_text("utf-8")) for path in sorted(options.ours.glob("*.json"))]
    ours = [row for each in kept for row in each["rows"]]
    print(table(theirs, ours))
    if options.out:
        result = {
            **how_made("published_code"),
            "published_code": PUBLISHED,
            "records": {
                "members": SIZES.members,
                "known_non_members": SIZES.reference,
                "scored_members": SIZES.members // 2,
                "scored_non_members": RECORDS - SIZES.members - SIZES.reference - SIZES.validation,
            },
            "theirs": theirs,
            "ours": ours,
        }
        write_json(options.out, result)
    if options.page:
        page = options.page.read_text("utf-8")
        options.page.write_text(fill(page, theirs, ours), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    actions = parser.add_subparsers(dest="action", required=True)
    data = actions.add_parser("data")
    data.add_argument("folder", type=Path)
    ours = actions.add_parser("ours")
    ours.add_argument("file", type=Path)
    ours.add_argument("--adaptive", action="store_true", help="attack SELENA adaptively too")
    ours.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    for each in (data, ours):
        each.add_argument("--seed", type=int, default=0)
    both = actions.add_parser("compare")
    both.add_argument("--theirs", type=Path, required=True)
    both.add_argument("--ours", type=Path, required=True)
    both.add_argument("--out", type=Path, help="JSON file to write")
    both.add_argument("--page", type=Path, help="page whose table is renewed")
    options = parser.parse_args()
    if options.action == "data":
        write_data(options.folder, options.seed)
    elif options.action == "ours":
        rows = train_ours(options.seed, options.adaptive, options.rows)
        options.file.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.file, {"rows": rows})
    else:
        compare(options)


if __name__ == "__main__":
    main()
