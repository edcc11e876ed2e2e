"""One table of cases that every attack must pass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

import pytest
import torch

from selena.attacks.adaptive import ShadowDistanceAttack, ShadowNeuralAttack
from selena.attacks.augmentation import AugmentationAttack
from selena.attacks.boundary import BoundaryDistanceAttack
from selena.attacks.flip_noise import FlipNoiseAttack
from selena.attacks.gaussian_noise import GaussianNoiseAttack
from selena.attacks.hopskipjump import HopSkipJumpAttack
from selena.attacks.indirect import IndirectQueryAttack
from selena.attacks.neural import NeuralAttack
from selena.attacks.one_query import OneQueryAttack
from selena.attacks.parrot import ParrotAttack
from selena.attacks.quantile import QuantileAttack
from selena.attacks.reference_model import ReferenceModelAttack
from selena.attacks.signal_attack import ThresholdAttack
from selena.attacks.yoqo import YOQOAttack
from selena.auditing.oracle import MeteredOracle
from selena.auditing.run import run_audit
from selena.defenses.split_ai import SplitAI
from selena.defenses.undefended import Undefended
from selena.environment.fingerprint import fingerprint
from selena.errors import DataError
from selena.networks.mlp import MLP
from selena.registry import ATTACKS, build_attacks
from selena.training.plans import Plan
from selena.training.recipe import Recipe
from selena.types import Attack, Family, Scorer, TargetModel
from selena.workspace import Workspace
from tests.attacks.planted import (
    CLASSES,
    Constant,
    Kind,
    Leak,
    audit_split,
    leak_of,
    leak_of_shifts,
)
from tests.test_registry import dataset

SHADOW = SplitAI(
    MLP(20, CLASSES, hidden=(16,)),
    CLASSES,
    Recipe(epochs=25, batch_size=16, learning_rate=0.03, precision="float32"),
    n_submodels=3,
    n_nonmodels=1,
)
REFERENCE = Undefended(SHADOW.network, CLASSES, SHADOW.recipe)
QUICK = NeuralAttack(epochs=30, batch_size=12, learning_rate=1.5e-3)
WALK = HopSkipJumpAttack(queries=150, first_samples=20, starts=10)
DESCENT = BoundaryDistanceAttack(steps=60, searches=4, learning_rate=0.03)


# Where scores of members vary, a threshold lies at the lowest that was known: of n known ones it
# misses more than a share x of others with probability (1 - x)^n. These bounds leave 1e-9, as six
# standard deviations do. Of 30 known members; and of the 6 that a trained attack holds out.
OF_VARYING, OF_FEW = 0.5, 0.03
# Six standard deviations of the AUC of 30 and 30 scores that tell nothing.
CHANCE = 0.45


@dataclass(frozen=True)
class Case:
    """An attack and what it must do.

    Attributes:
        attack: quick to run.
        kind: records it is made for.
        wrong: records it must refuse, if there are any.
        advantage: what it reaches on a planted leak, at least.
        auc: the same.
        constant: how far from 0.5 its AUC may be on a constant target.
        of_neighbors_only: it is made for a leak around members alone.
        of_shifts_only: the same, where around means by a pixel.
    """

    attack: Attack
    kind: Kind
    wrong: Kind | None = None
    advantage: float = 1.0
    auc: float = 1.0
    constant: float = 0.0
    of_neighbors_only: bool = False
    of_shifts_only: bool = False

    @property
    def leak(self) -> Leak:
        split = audit_split(self.kind)
        if self.of_shifts_only:
            return leak_of_shifts(split)
        return leak_of(split, self.kind, of_neighbors_only=self.of_neighbors_only)


def around(attack: IndirectQueryAttack, kind: Kind, wrong: Kind) -> Case:
    return Case(attack, kind, wrong, advantage=OF_VARYING, of_neighbors_only=True)


def shadowed(attack: Attack) -> Case:
    """Its scores depend on what its own models answer, however constant the target is."""
    return Case(attack, "numbers", advantage=OF_FEW, auc=0.95, constant=CHANCE)


def of_surrogates(kind: Kind) -> Case:
    """Its scores depend on what its surrogates say, however constant the target is."""
    features = {"bits": 80, "numbers": 20, "images": 108}[kind]
    recipe = Recipe(epochs=5, batch_size=8, learning_rate=0.01, precision="float32")
    network = MLP(features, CLASSES, hidden=(8,))
    size = 0.005 if kind == "images" else 0.02
    attack = OneQueryAttack(network, CLASSES, recipe, surrogates=2, steps=4, size=size)
    return Case(attack, kind, advantage=OF_FEW, auc=0.95, constant=CHANCE)


def of_copies(kind: Kind) -> Case:
    """Its scores depend on which copies its surrogates recognize, however constant the target."""
    attack = of_surrogates(kind).attack
    assert isinstance(attack, OneQueryAttack)
    recipe = replace(attack.recipe, epochs=20)
    return Case(
        YOQOAttack(attack.network, CLASSES, recipe, runs=4, steps=4, size=attack.size),
        kind,
        advantage=OF_FEW,
        auc=0.95,
        constant=CHANCE,
    )


def of_quantiles(kind: Kind) -> Case:
    """Its scores depend on what its regressor learned, however constant the target is."""
    attack = QuantileAttack(rounds=5, epochs=2)
    return Case(attack, kind, advantage=OF_FEW, auc=1.0, constant=CHANCE)


CASES = [
    Case(ThresholdAttack("correctness"), "bits"),
    Case(ThresholdAttack("confidence"), "numbers"),
    Case(ThresholdAttack("entropy"), "numbers"),
    Case(ThresholdAttack("modified_entropy"), "images"),
    Case(QUICK, "numbers", advantage=OF_FEW, auc=0.97),
    of_quantiles("bits"),
    of_quantiles("numbers"),
    of_quantiles("images"),
    Case(FlipNoiseAttack(flips=(1, 2, 3), copies=12), "bits", "numbers"),
    Case(FlipNoiseAttack(flips=2, copies=12), "bits", "images"),
    Case(GaussianNoiseAttack(sigmas=(0.02, 0.1), copies=12), "numbers", "bits"),
    Case(GaussianNoiseAttack(sigmas=0.02, relative=False, copies=12), "images", "bits"),
    Case(AugmentationAttack(), "images", "bits"),
    Case(AugmentationAttack("classifier"), "images", "numbers"),
    Case(DESCENT, "numbers", advantage=OF_VARYING),
    Case(DESCENT, "images", advantage=OF_VARYING),
    Case(WALK, "numbers", advantage=OF_VARYING),
    Case(WALK, "bits", advantage=OF_VARYING),
    around(IndirectQueryAttack("flip", copies=3), "bits", "numbers"),
    around(IndirectQueryAttack("noise", sizes=(0.05,), copies=3), "numbers", "bits"),
    around(IndirectQueryAttack("flip", copies=3, signal="modified_entropy"), "bits", "numbers"),
    around(IndirectQueryAttack("noise", copies=3, signal="modified_entropy"), "numbers", "bits"),
    around(IndirectQueryAttack("noise", copies=3), "images", "bits"),
    around(IndirectQueryAttack("noise", copies=3, signal="modified_entropy"), "images", "bits"),
    Case(IndirectQueryAttack("shift"), "images", "bits", of_shifts_only=True),
    Case(
        IndirectQueryAttack("shift", signal="modified_entropy"),
        "images",
        "numbers",
        of_shifts_only=True,
    ),
    of_surrogates("bits"),
    of_surrogates("numbers"),
    of_surrogates("images"),
    of_copies("bits"),
    of_copies("numbers"),
    of_copies("images"),
    shadowed(ShadowDistanceAttack(SHADOW)),
    shadowed(ShadowDistanceAttack(SHADOW, "squared_l2")),
    shadowed(ShadowNeuralAttack(SHADOW, "difference", QUICK)),
    shadowed(ShadowNeuralAttack(SHADOW, "both", QUICK)),
    shadowed(ReferenceModelAttack(REFERENCE, "lira", runs=4)),
    shadowed(ReferenceModelAttack(REFERENCE, "rmia", runs=4)),
    # Student's tails: the planted answers, unlike any reference model's, tell it little.
    replace(shadowed(ReferenceModelAttack(REFERENCE, "bavaria", runs=4)), advantage=-0.2, auc=0.55),
    # The toy reference models do not leak, so it expects no difference between the two sides.
    replace(
        shadowed(ReferenceModelAttack(REFERENCE, "empirical_bayes", runs=4)),
        advantage=-0.2,
        auc=0.5,
    ),
    shadowed(ReferenceModelAttack(REFERENCE, "base", runs=4)),
    *(
        shadowed(ReferenceModelAttack(REFERENCE, each, runs=4, online=False))
        for each in ("lira", "rmia", "bavaria", "base")
    ),
    shadowed(ParrotAttack(REFERENCE, runs=4, nearest=3)),
]

every_attack = pytest.mark.parametrize(
    "case", CASES, ids=[f"{case.attack.name}-{case.kind}" for case in CASES]
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Where attacks keep what they train, so that these tests train it once."""
    return Workspace(folder=tmp_path_factory.mktemp("attacks"))


def briefly(attack: Attack) -> Attack:
    """Train for one epoch and search in few steps, where it does not matter what is found."""
    if isinstance(attack, NeuralAttack):
        return replace(attack, epochs=1)
    if isinstance(attack, ShadowNeuralAttack):
        attack = replace(attack, network=replace(attack.network, epochs=1))
    if isinstance(attack, ShadowDistanceAttack | ShadowNeuralAttack):
        recipe = replace(SHADOW.recipe, epochs=1)
        return replace(attack, split_ai=replace(SHADOW, recipe=recipe))
    if isinstance(attack, ReferenceModelAttack):
        recipe = replace(REFERENCE.recipe, epochs=1)
        return replace(attack, defense=replace(REFERENCE, recipe=recipe))
    if isinstance(attack, OneQueryAttack | YOQOAttack):
        return replace(attack, recipe=replace(attack.recipe, epochs=1))
    if isinstance(attack, BoundaryDistanceAttack):
        return replace(attack, steps=10, searches=2)
    return attack


def global_summary(case: Case, target: TargetModel, workspace: Workspace) -> tuple[float, float]:
    """Return advantage and AUC, truth and thresholds in the hands of the audit."""
    split = audit_split(case.kind)
    report = run_audit(target, split, [case.attack], seed=1, workspace=workspace)
    summary = report.attacks[case.attack.name].variants["global"].summary
    return summary.advantage, summary.auc


def fit(case: Case, target: TargetModel, workspace: Workspace) -> Scorer:
    oracle, split = MeteredOracle(target, case.attack.access), audit_split(case.kind)
    known = replace(split.known, candidates=split.evaluation.joined()[0])
    return briefly(case.attack).fit(oracle, known, seed=3, workspace=workspace)


@every_attack
def test_planted_leak_is_found(case: Case, workspace: Workspace) -> None:
    advantage, auc = global_summary(case, case.leak, workspace)
    assert advantage >= case.advantage
    assert auc >= case.auc


@every_attack
def test_constant_target_tells_nothing(case: Case, workspace: Workspace) -> None:
    brief = replace(case, attack=briefly(case.attack))
    _, auc = global_summary(brief, Constant(), workspace)
    assert auc == pytest.approx(0.5, rel=0, abs=case.constant)


@every_attack
def test_order_of_the_candidates_does_not_matter(case: Case, workspace: Workspace) -> None:
    scorer = fit(case, case.leak, workspace)
    candidates = audit_split(case.kind).evaluation.joined()[0]
    order = torch.randperm(len(candidates), generator=torch.Generator().manual_seed(1))
    straight, shuffled = scorer.score(candidates), scorer.score(candidates.take(order))
    torch.testing.assert_close(shuffled, straight[order], rtol=1e-3, atol=1e-5)
    alone = scorer.score(candidates.take(torch.tensor([7])))
    torch.testing.assert_close(alone, straight[7:8], rtol=1e-3, atol=1e-5)


@every_attack
def test_same_seed_same_scores(case: Case, workspace: Workspace) -> None:
    """Also where nothing that was trained before is found."""
    candidates = audit_split(case.kind).evaluation.joined()[0]
    first = fit(case, case.leak, workspace).score(candidates)
    second = fit(case, case.leak, Workspace()).score(candidates)
    assert first.dtype == torch.float64
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.wrong], ids=[c.attack.name for c in CASES if c.wrong]
)
def test_records_of_a_wrong_kind_are_refused(case: Case) -> None:
    assert case.wrong is not None
    split = audit_split(case.wrong)
    oracle = MeteredOracle(leak_of(split, case.wrong), case.attack.access)
    with pytest.raises(DataError, match=r"(these are|Bits can be|needs|need)"):
        case.attack.fit(oracle, split.known, seed=0).score(split.known.members)


@every_attack
def test_it_can_be_kept_and_listed(case: Case) -> None:
    """A name, a family, and settings that a fingerprint can tell from all others'."""
    assert case.attack.name
    assert case.attack.family in get_args(Family)
    alike = [c.attack for c in CASES if fingerprint(c.attack) == fingerprint(case.attack)]
    assert all(attack == case.attack for attack in alike)


@pytest.mark.parametrize("name", ATTACKS)
def test_every_registered_attack_has_a_case(name: str) -> None:
    tried = {(type(case.attack), case.attack.name) for case in CASES}
    for features in ATTACKS[name].features:
        (attack,) = build_attacks([name], Plan(hidden=(4,)), dataset(features))
        assert (type(attack), attack.name) in tried


@pytest.mark.parametrize("attack", [c.attack for c in CASES if c.attack.family == "label-only"])
def test_label_only_attacks_ask_for_labels_only(attack: Attack) -> None:
    """The oracle enforces it; the boundary distance says openly that it asks for more."""
    assert attack.access == ("gradient" if isinstance(attack, BoundaryDistanceAttack) else "label")
