"""The Adversarial Robustness Toolbox attacks what we attack, and finds what our attacks find."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.art_comparison import (
    binary,
    by_rule,
    figures,
    learned,
    our_scores,
    regression,
    several_labels,
    squared_errors,
)
from selena.attacks.signal_attack import ThresholdAttack
from selena.auditing.report import AuditReport
from selena.auditing.run import run_audit
from selena.defenses.selena import Selena
from selena.defenses.undefended import Undefended
from selena.networks.mlp import MLP
from selena.seeding import torch_generator
from selena.training.model import NetworkModel
from selena.training.recipe import Recipe
from selena.types import AuditSplit, MembershipSets, Records
from tests.toys import CLASSES, FEATURES, toy_records

pytest.importorskip("art", reason="the Adversarial Robustness Toolbox (extra art) is not installed")

KNOWN, EVALUATION = 600, 600
NETWORK = MLP(FEATURES, CLASSES, hidden=(128,), activation="relu")
LEARNING = Recipe(epochs=50, batch_size=64, precision="float32", learning_rate=0.01)
# Twice the standard error of a balanced accuracy on 600 members and 600 others is 0.03, and each
# side has its own from the known records that it learns from.
TOLERANCE = 0.06
FEW = pytest.mark.filterwarnings("ignore::selena.errors.AuditWarning")  # records for 1 % FPR


@dataclass(frozen=True)
class Audited:
    """A model as the toolbox sees it, and what our attacks found."""

    defense: str
    classifier: Any
    split: AuditSplit
    report: AuditReport


def split_of() -> AuditSplit:
    """Return records that a network can only learn by heart, in part."""
    sizes = [KNOWN, KNOWN, EVALUATION, EVALUATION, 100]
    records = toy_records(sum(sizes))
    noise = torch.randn(records.x.shape, generator=torch_generator(0, "more noise"))
    records = replace(records, x=records.x + 2 * noise)
    sets = [records.take(rows) for rows in torch.arange(len(records)).split(sizes)]
    return AuditSplit(MembershipSets(*sets[:2]), MembershipSets(*sets[2:4]), sets[4])


@pytest.fixture(scope="module", params=["undefended", "selena"])
def audited(request: pytest.FixtureRequest) -> Audited:
    from art.estimators.classification import PyTorchClassifier

    split = split_of()
    defense: Undefended | Selena = Undefended(NETWORK, CLASSES, LEARNING)
    if request.param == "selena":
        defense = Selena(
            NETWORK, CLASSES, LEARNING, replace(LEARNING, epochs=25), n_submodels=4, n_nonmodels=2
        )
    model: NetworkModel = defense.fit(split.train, split.validation, seed=0)
    attacks = [ThresholdAttack(s) for s in ("correctness", "confidence", "modified_entropy")]
    return Audited(
        request.param,
        PyTorchClassifier(
            model=nn.Sequential(model.network, nn.LogSoftmax(dim=1)),
            loss=nn.NLLLoss(),
            input_shape=(FEATURES,),
            nb_classes=CLASSES,
            device_type="cpu",
        ),
        split,
        run_audit(model, split, attacks, seed=0),
    )


def arrays(records: Records) -> tuple[Any, Any]:
    return records.x.numpy(), records.y.numpy()


def balanced_accuracy(decisions: Any, truth: Any) -> float:
    return float((decisions[truth].mean() + 1 - decisions[~truth].mean()) / 2)


def ours(audited: Audited, attack: str) -> float:
    return audited.report.attacks[attack].variants["global"].summary.balanced_accuracy


def test_the_rule_based_attack_decides_as_correctness(audited: Audited) -> None:
    from art.attacks.inference.membership_inference import MembershipInferenceBlackBoxRuleBased

    records, _ = audited.split.evaluation.joined()
    theirs = MembershipInferenceBlackBoxRuleBased(audited.classifier).infer(*arrays(records))
    scored = audited.report.attacks["correctness"].scores.evaluation
    np.testing.assert_array_equal(scored.ids, records.ids)
    np.testing.assert_array_equal(theirs == 1, scored.scores == 1)
    assert 0 < theirs.mean() < 1


@pytest.mark.parametrize(
    ("sees", "kind", "attack"),
    [("loss", "lr", "confidence"), ("prediction", "gb", "modified_entropy")],
)
def test_a_learned_attack_finds_as_much(
    audited: Audited, sees: str, kind: str, attack: str
) -> None:
    from art.attacks.inference.membership_inference import MembershipInferenceBlackBox

    learned = MembershipInferenceBlackBox(
        audited.classifier, input_type=sees, attack_model_type=kind
    )
    learned.attack_model.set_params(random_state=0)
    known = audited.split.known
    learned.fit(*arrays(known.members), *arrays(known.non_members))
    records, truth = audited.split.evaluation.joined()
    theirs = balanced_accuracy(learned.infer(*arrays(records)).ravel(), truth.numpy())
    assert theirs == pytest.approx(ours(audited, attack), abs=TOLERANCE)


def test_the_models_differ_in_what_leaks(audited: Audited) -> None:
    leak = ours(audited, "modified_entropy")
    assert leak < 0.58 if audited.defense == "selena" else leak > 0.6


@FEW
def test_one_probability_is_decided_by_both_alike() -> None:
    task = binary(0, n=2000, trees=5)
    report = task.ours(task)
    assert 0 < task.positive.sum() < 100  # type: ignore[union-attr]
    np.testing.assert_array_equal(by_rule(task), our_scores(report, "correctness") == 1)
    assert 0 < by_rule(task).mean() < 1


@FEW
def test_errors_of_a_regressor_are_those_of_both() -> None:
    task = regression(0, trees=5)
    ours = our_scores(task.ours(task), "absolute_error")
    np.testing.assert_allclose(-np.sqrt(squared_errors(task)), ours, rtol=1e-4, atol=1e-4)
    leak = figures(task, -squared_errors(task), ours > 0)["auc"]
    assert leak == pytest.approx(task.ours(task).auc.value, abs=1e-3)
    assert leak > 0.6


@FEW
def test_the_rule_of_one_class_misses_several_labels() -> None:
    """It compares the largest outputs alone; ours counts the labels that are right."""
    task = several_labels(0, n=400, trees=5)
    scored = ~task.known
    right = ((task.answers > 0.5) == task.truth).sum(axis=1)[scored]
    np.testing.assert_array_equal(our_scores(task.ours(task), "correctness"), right)
    largest = task.answers.argmax(axis=1) == task.truth.argmax(axis=1)
    np.testing.assert_array_equal(by_rule(task), largest[scored])
    assert (by_rule(task) != (right == task.width)).any()


def test_a_learner_finds_no_less_than_a_guess() -> None:
    task = regression(0, trees=5)
    learned_scores = learned(task, "lr", 0)
    found = figures(task, learned_scores, learned_scores > 0.5)
    assert found["auc"] > 0.6
    assert found["balanced_accuracy"] > 0.55
