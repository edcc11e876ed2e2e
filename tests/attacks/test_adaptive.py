"""Attacks that know the defense: they break Split-AI, not its distilled student."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from selena.attacks.adaptive import ShadowDistanceAttack, ShadowNeuralAttack, train_shadow
from selena.attacks.indirect import IndirectQueryAttack
from selena.attacks.neural import NeuralAttack
from selena.auditing.oracle import MeteredOracle
from selena.auditing.run import run_audit
from selena.auditing.scoring import balanced
from selena.data.long_tail import LongTail
from selena.defenses.selena import Selena
from selena.defenses.split_ai import SplitAI, SplitAIModel
from selena.errors import ConfigError
from selena.networks.mlp import MLP
from selena.training.recipe import Recipe
from selena.types import Attack, AuditSplit, MembershipSets, Records, TargetModel
from selena.workspace import Workspace

CLASSES, BITS, SIDE = 5, 60, 60
RECIPE = Recipe(epochs=40, batch_size=16, learning_rate=3e-3, precision="float32")
NETWORK = MLP(BITS, CLASSES, hidden=(64,))
SPLIT_AI = SplitAI(NETWORK, CLASSES, RECIPE, n_submodels=6, n_nonmodels=2)
QUICK = SplitAI(
    NETWORK, CLASSES, Recipe(epochs=1, precision="float32"), n_submodels=3, n_nonmodels=1
)


@pytest.fixture(scope="module")
def split() -> AuditSplit:
    """Sparse bits whose tail must be memorized, as in Location30."""
    mixture = LongTail(classes=CLASSES, items=BITS, subpopulations=200)
    x, y = mixture.generate(4 * SIDE + 10, seed=100)
    records = Records(torch.from_numpy(x), torch.from_numpy(y), torch.arange(len(y)))
    parts = [records.take(torch.arange(SIDE * i, SIDE * (i + 1))) for i in range(4)]
    validation = records.take(torch.arange(4 * SIDE, len(y)))
    return AuditSplit(
        MembershipSets(parts[0], parts[1]), MembershipSets(parts[2], parts[3]), validation
    )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(folder=tmp_path_factory.mktemp("adaptive"))


def accuracy(target: TargetModel, split: AuditSplit, attack: IndirectQueryAttack) -> float:
    report = run_audit(target, split, [attack], seed=0)
    return report.attacks[attack.name].variants["global"].summary.balanced_accuracy


def test_the_shadow_trains_on_every_known_member(split: AuditSplit) -> None:
    """Thresholds want as many members as non-members; who imitates the defense does not."""
    few = split.known.non_members.take(torch.arange(20))
    known = balanced(MembershipSets(split.known.members, few), seed=0)
    assert (len(known.members), len(known.non_members)) == (20, 20)
    assert sorted(known.all_members.ids.tolist()) == split.known.members.ids.tolist()
    shadow = train_shadow(QUICK, known, shadow_seed=0)
    assert len(shadow.sets) == SIDE


@pytest.mark.deep
def test_indirect_queries_break_split_ai_only(split: AuditSplit, workspace: Workspace) -> None:
    attack = IndirectQueryAttack("flip", sizes=(1, 2), copies=8)
    ensemble = SPLIT_AI.fit(split.train, split.validation, seed=0, workspace=workspace)
    defense = Selena(NETWORK, CLASSES, RECIPE, RECIPE, n_submodels=6, n_nonmodels=2)
    student = defense.fit(split.train, split.validation, seed=0, workspace=workspace)
    assert accuracy(ensemble, split, attack) > 0.65
    assert accuracy(student, split, attack) == pytest.approx(0.5, abs=0.1)


def test_split_ai_answers_a_repeated_query_alike(split: AuditSplit, workspace: Workspace) -> None:
    ensemble = SPLIT_AI.fit(split.train, split.validation, seed=0, workspace=workspace)
    oracle = MeteredOracle(ensemble, "logits")
    for records in (split.train, split.evaluation.non_members):
        first = oracle.logits(records.x)
        again = ensemble.logits(records.x)  # not the oracle's memory
        assert torch.equal(first, again)


def test_one_shadow_serves_every_attack(split: AuditSplit, tmp_path: Path) -> None:
    workspace = Workspace(folder=tmp_path)
    target = train_shadow(QUICK, split.known, shadow_seed=9)  # any target will do
    network = NeuralAttack(epochs=1)
    attacks: list[Attack] = [
        ShadowDistanceAttack(QUICK),
        ShadowDistanceAttack(QUICK, "squared_l2", "-"),
        ShadowNeuralAttack(QUICK, "difference", network),
        ShadowNeuralAttack(QUICK, "both", network),
    ]
    for seed, attack in enumerate(attacks):  # an audit gives each attack a seed of its own
        attack.fit(MeteredOracle(target, "logits"), split.known, seed=seed, workspace=workspace)
    assert len(list(tmp_path.glob("submodel-*"))) == QUICK.n_submodels
    ShadowDistanceAttack(QUICK, shadow_seed=1).fit(
        MeteredOracle(target, "logits"), split.known, seed=0, workspace=workspace
    )
    assert len(list(tmp_path.glob("submodel-*"))) == 2 * QUICK.n_submodels


def test_a_shadow_of_subjects_is_another(split: AuditSplit) -> None:
    target = train_shadow(QUICK, split.known, shadow_seed=9)
    members, workspace = split.known.members, Workspace()
    grouped = replace(
        split.known, members=replace(members, subjects=torch.arange(len(members)) // 2)
    )
    attack = ShadowDistanceAttack(QUICK)
    one, other = (
        attack.fit(MeteredOracle(target, "logits"), known, seed=0, workspace=workspace)
        for known in (split.known, grouped)
    )
    assert len(workspace.shared) == 2
    assert not torch.equal(one.score(members), other.score(members))


def test_shadow_answers_equal_records_once(
    split: AuditSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the attacks of an audit; another audit has other targets, and its own shadow."""
    target = train_shadow(QUICK, split.known, shadow_seed=9)
    asked: list[int] = []
    answer = SplitAIModel.logits

    def counting(model: SplitAIModel, x: Tensor) -> Tensor:
        if model is not target:
            asked.append(len(x))
        answered: Tensor = answer(model, x)
        return answered

    monkeypatch.setattr(SplitAIModel, "logits", counting)
    attacks: list[Attack] = [ShadowDistanceAttack(QUICK), ShadowDistanceAttack(QUICK, "squared_l2")]
    workspace = Workspace()
    report = run_audit(target, split, attacks, seed=0, workspace=workspace)
    assert set(report.attacks) == {attack.name for attack in attacks}
    assert len(asked) == 3  # known records in order, and shuffled; those that are scored
    assert not workspace.shared


def test_shadow_answers_members_by_their_non_models(
    split: AuditSplit, workspace: Workspace
) -> None:
    shadow = train_shadow(QUICK, split.known, shadow_seed=0, workspace=workspace)
    members = split.known.members
    for i in range(3):
        rows = torch.nonzero(shadow.sets.excluded[i]).squeeze(1).tolist()
        parts = [shadow.submodels[j](members.x[i : i + 1].float()).softmax(1) for j in rows]
        expected = torch.stack(parts).mean(0).log()
        torch.testing.assert_close(shadow.logits(members.x[i : i + 1]), expected)


class Copycat:
    """Answers known members as `shadow` does, and everything else by the mirror image."""

    num_classes = CLASSES

    def __init__(self, shadow: TargetModel, members: Records) -> None:
        self.shadow = shadow
        self.members = {row.numpy().tobytes() for row in members.x}

    def logits(self, x: Tensor) -> Tensor:
        near = torch.tensor([row.numpy().tobytes() in self.members for row in x])
        answer = self.shadow.logits(x)
        return torch.where(near[:, None], answer, -answer)


@pytest.mark.parametrize("signal", ["cross_entropy", "squared_l2"])
def test_direction_is_found_on_known_records(
    split: AuditSplit, workspace: Workspace, signal: str
) -> None:
    def scores(known: MembershipSets, members: Records, direction: str) -> np.ndarray:
        shadow = train_shadow(QUICK, split.known, shadow_seed=0, workspace=workspace)
        oracle = MeteredOracle(Copycat(shadow, members), "logits")
        attack = ShadowDistanceAttack(QUICK, signal, direction)  # type: ignore[arg-type]
        scorer = attack.fit(oracle, known, seed=0, workspace=workspace)
        return scorer.score(split.evaluation.members).numpy()

    plus, minus = (scores(split.known, split.train, sign) for sign in ("+", "-"))
    np.testing.assert_array_equal(plus, -minus)
    np.testing.assert_array_equal(scores(split.known, split.train, "auto"), plus)
    far = split.known.non_members  # now the non-members are near
    np.testing.assert_array_equal(scores(split.known, far, "auto"), scores(split.known, far, "-"))


def test_infinite_answers_give_finite_scores(split: AuditSplit, workspace: Workspace) -> None:
    class Certain:
        num_classes = CLASSES

        def logits(self, x: Tensor) -> Tensor:
            answer = torch.full((len(x), CLASSES), -torch.inf)
            return answer.scatter(1, x.sum(dim=1, keepdim=True) % CLASSES, 0.0)

    for attack in (ShadowDistanceAttack(QUICK), IndirectQueryAttack("flip", copies=2)):
        oracle = MeteredOracle(Certain(), "logits")
        scorer = attack.fit(oracle, split.known, seed=0, workspace=workspace)
        assert torch.isfinite(scorer.score(split.evaluation.members)).all()


def test_shifts_ask_about_the_eight_pixels_around() -> None:
    class OnePixel:
        """Its log-odds for class 0 are one pixel in [0, 255]: a shift shows it another one."""

        num_classes = 2

        def logits(self, x: Tensor) -> Tensor:
            pixel = x[:, 0, 2, 2].float()
            return torch.stack([pixel, torch.zeros_like(pixel)], dim=1)

    x = torch.randint(0, 90, (6, 1, 5, 5), generator=torch.Generator().manual_seed(0))
    images = Records(x.to(torch.uint8), torch.zeros(6, dtype=torch.int64), torch.arange(6))
    known = MembershipSets(images.take(torch.arange(3)), images.take(torch.arange(3, 6)))
    oracle = MeteredOracle(OnePixel(), "logits")
    for far in (1, 2):
        scorer = IndirectQueryAttack("shift", sizes=(far,)).fit(oracle, known, seed=0)
        window = x[:, 0, 2 - far : 3 + far : far, 2 - far : 3 + far : far].double()
        middle = window[:, 1, 1]
        around = (window.sum(dim=(1, 2)) - middle) / 8
        every = replace(scorer, copies=8)  # fewer may have been chosen
        torch.testing.assert_close(every.score(images), around - middle)
        assert scorer.copies in (1, 2, 4, 8)


@pytest.mark.usefixtures("unchecked")
def test_bad_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="kind"):
        IndirectQueryAttack("rotate")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="whole numbers"):
        IndirectQueryAttack("flip", sizes=(1.5,))
    with pytest.raises(ConfigError, match="8 shifts"):
        IndirectQueryAttack("shift", copies=9)
    with pytest.raises(ConfigError, match="signal"):
        IndirectQueryAttack("flip", signal="entropy")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="signal"):
        ShadowDistanceAttack(QUICK, "cosine")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="direction"):
        ShadowDistanceAttack(QUICK, direction="up")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="inputs"):
        ShadowNeuralAttack(QUICK, "sum")  # type: ignore[arg-type]
