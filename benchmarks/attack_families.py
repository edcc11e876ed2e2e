"""Attacks beyond those of the paper, on a small Location30: what each finds, and at what cost.

    python -m benchmarks.attack_families --data-dir DIR --json FILE [--seed 1 ...] [--folder DIR]
        [--attack LINE ...]

Undefended and SELENA (K = 10, L = 4), networks of 446-256-128-30, 1,000 members, 500 scored
records per side. Attacks that repeat the training use 8 reference models, which repeat the whole
defense with its K and L. Precision and recall are those of the attack's own decisions.

With `--folder` what was trained is kept, so that a run that was stopped goes on. The file is
written after each attack; one that lacks a line was stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from benchmarks.page import how_made
from selena import infer_attribute
from selena.attacks import (
    FlipNoiseAttack,
    OneQueryAttack,
    ParrotAttack,
    QuantileAttack,
    ReferenceModelAttack,
    ShadowNeuralAttack,
    ThresholdAttack,
    YOQOAttack,
    lt_iqr_scores,
)
from selena.attacks.signals import confidence
from selena.auditing.report import AuditReport
from selena.auditing.run import accuracy, run_audit
from selena.auditing.scoring import Scored
from selena.data import audit_split, load
from selena.defenses import Undefended
from selena.files.writing import write_json
from selena.metrics import (
    fit_threshold,
    loss_true_negative_rate,
    precision_and_recall,
    precision_at_k,
)
from selena.registry import build_defense
from selena.training.loss_trace import LossTrace
from selena.training.plans import PLANS
from selena.types import Attack, AuditSplit, Dataset, Defense, TargetModel
from selena.workspace import Workspace

RUNS, FPRS = 8, (0.1, 0.01)
PLAN = replace(PLANS["location30"], hidden=(256, 128), n_submodels=10, n_nonmodels=4)
DEFENSES = ("undefended", "selena")


def attacks(defense: Defense, data: Dataset) -> dict[str, Attack]:
    """Return the attacks by the name of their line; two of one name differ in a setting."""
    both = ShadowNeuralAttack.from_plan(PLAN, data, "both")
    return {
        "confidence": ThresholdAttack("confidence"),
        "modified_entropy": ThresholdAttack("modified_entropy"),
        "quantile": QuantileAttack(),
        "correctness": ThresholdAttack("correctness"),
        "one_query": OneQueryAttack.from_plan(PLAN, data),
        "yoqo": YOQOAttack.from_plan(PLAN, data),
        "flip_noise": FlipNoiseAttack(),
        "shadow_neural_both, two towers": replace(both, towers=2),
        "shadow_neural_both, one tower": both,
        "lira": ReferenceModelAttack(defense, "lira", runs=RUNS),
        "rmia": ReferenceModelAttack(defense, "rmia", runs=RUNS),
        "parrot": ParrotAttack(defense, runs=RUNS),
        "parrot, other records alone": ParrotAttack(defense, runs=RUNS, own=False),
    }


def figures(report: AuditReport, name: str) -> dict[str, Any]:
    """Return the figures of one attack on the scored records."""
    result = report.attacks[name]
    summary, known, scored = (
        result.variants["global"].summary,
        result.scores.calibration,
        result.scores.evaluation,
    )
    decisions = fit_threshold(known.scores, known.truth).decide(scored.scores, scored.labels)
    said = precision_and_recall(decisions, scored.truth)
    return {
        "balanced_accuracy": summary.balanced_accuracy,
        "balanced_accuracy_interval": list(summary.balanced_accuracy_interval),
        "auc": summary.auc,
        "auc_interval": list(summary.auc_interval),
        "tpr_at_fpr": {
            str(fpr): [summary.tpr_at_fpr[fpr].tpr, *summary.tpr_at_fpr[fpr].interval]
            for fpr in FPRS
        },
        "precision": [said.precision, *said.precision_interval],
        "recall": [said.recall, *said.recall_interval],
        "queries_per_record": result.queries_per_record,
        "seconds": round(result.scores.seconds, 1),
    }


@dataclass(frozen=True, eq=False)
class Trained:
    """A target model, and the losses of its training where there is one of all members."""

    target: TargetModel
    trace: LossTrace | None


def train(defense: Defense, split: AuditSplit, seed: int, workspace: Workspace) -> Trained:
    """Train the target; an undefended one tells its losses, and is trained anew for that."""
    if not isinstance(defense, Undefended):
        target = defense.fit(split.train, split.validation, seed=seed, workspace=workspace)
        return Trained(target, None)
    return Trained(*defense.fit_with_trace(split.train, split.validation, seed=seed))


def exposed(trace: LossTrace, split: AuditSplit, lira: Scored) -> dict[str, Any]:
    """Return how well losses of one training find the members that LiRA finds."""
    first = len(split.known.members)
    mine = slice(first, first + len(split.evaluation.members))
    scores = {"lt_iqr": lt_iqr_scores(trace.losses)[mine], "last_loss": trace.losses[-1][mine]}
    members, others = lira.scores[lira.truth], lira.scores[~lira.truth]
    told: dict[str, Any] = {}
    for fpr in FPRS:
        found = members > np.sort(others)[len(others) - 1 - int(fpr * len(others))]
        told[str(fpr)] = {"share_found": float(found.mean())}
        for k in (5, 25, 50):
            told[str(fpr)][f"precision_at_{k}"] = {
                name: list(_flat(precision_at_k(each, found, k))) for name, each in scores.items()
            }
    return told


def _flat(value: tuple[float, tuple[float, float]]) -> tuple[float, float, float]:
    precision, (low, high) = value
    return precision, low, high


def tail(target: TargetModel, split: AuditSplit) -> list[float]:
    """Return the loss attack's true-negative rate at a false-negative rate of 1 %."""
    losses = [
        -confidence(target.logits(side.x), side.y).numpy()
        for side in (split.evaluation.members, split.evaluation.non_members)
    ]
    rate = loss_true_negative_rate(*losses, fnr=0.01)
    return [rate.tpr, *rate.interval]


def attribute(target: TargetModel, split: AuditSplit) -> dict[str, Any]:
    """Return what the target betrays of the bit that is most evenly set."""
    every = split.train.x.float().mean(dim=0)
    column = int((every - 0.5).abs().argmin())
    report = infer_attribute(target, split.evaluation.members, split.evaluation.non_members, column)
    shares = ("members", "non_members", "most_frequent", "without_model")
    values = {name: getattr(report, name) for name in shares}
    return {
        "column": column,
        **{name: [each.value, *each.interval] for name, each in values.items()},
        "advantage": [report.advantage, *report.advantage_interval],
    }


def run(
    seed: int,
    options: argparse.Namespace,
    result: dict[str, Any],
    save: Callable[[], None],
) -> None:
    """Add the figures of one seed to `result`, and save them as they come."""
    data = load("location30", data_dir=options.data_dir)
    split = audit_split(data, n_members=1000, seed=seed)
    workspace = Workspace(folder=options.folder)
    result["n"] = split.sizes()
    for name in DEFENSES:
        defense = build_defense(name, PLAN, data)
        trained = train(defense, split, seed, workspace)
        rows: dict[str, Any] = {}
        scores: dict[str, Scored] = {}
        told = result[name] = {
            "test_accuracy": accuracy(trained.target, split.evaluation.non_members).value,
            "loss_true_negative_rate": tail(trained.target, split),
            "attribute": attribute(trained.target, split),
            "attacks": rows,
        }
        for line, attack in attacks(defense, data).items():
            if options.attack and line not in options.attack:
                continue
            report = run_audit(trained.target, split, [attack], seed=seed, workspace=workspace)
            rows[line] = figures(report, attack.name)
            scores[line] = report.attacks[attack.name].scores.evaluation
            print(seed, name, line, f"{rows[line]['auc']:.3f}", flush=True)
            save()
        if trained.trace is not None and "lira" in scores:
            told["loss_trace"] = exposed(trained.trace, split, scores["lira"])
            told["epochs"] = len(trained.trace.losses)
            save()


def spread(seeds: dict[str, Any]) -> dict[str, Any]:
    """Return mean and standard deviation over seeds, per defense and attack."""
    told: dict[str, Any] = {}
    for name in DEFENSES:
        told[name] = {}
        for line in next(iter(seeds.values()))[name]["attacks"]:
            rows = [each[name]["attacks"][line] for each in seeds.values()]
            values = {
                "auc": [row["auc"] for row in rows],
                "balanced_accuracy": [row["balanced_accuracy"] for row in rows],
                "tpr_at_0.01": [row["tpr_at_fpr"]["0.01"][0] for row in rows],
            }
            told[name][line] = {
                key: [fmean(each), stdev(each) if len(each) > 1 else 0.0]
                for key, each in values.items()
            }
    return told


def main() -> None:
    """Run all seeds and write one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--attack", action="append", help="a line of the table; default: all")
    options = parser.parse_args()
    seeds = options.seed or [1]
    found: dict[str, Any] = {}
    result = {
        **how_made("attack_families"),
        "reference_models": RUNS,
        "n_submodels": PLAN.n_submodels,
        "n_nonmodels": PLAN.n_nonmodels,
        "seeds": found,
    }
    for seed in seeds:
        run(
            seed,
            options,
            found.setdefault(str(seed), {}),
            lambda: write_json(options.json, result),
        )
    if len(seeds) > 1:
        result["mean_and_spread"] = spread(found)
        write_json(options.json, result)


if __name__ == "__main__":
    main()
