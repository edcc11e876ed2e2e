"""The Adversarial Robustness Toolbox attacks our models, and finds what our attacks find."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from selena.attacks.threshold import ThresholdAttack
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
