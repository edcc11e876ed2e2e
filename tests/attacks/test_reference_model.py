"""Attacks by reference models: the variance, the halves, and what is trained when."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from selena.attacks import reference_training
from selena.attacks.pool_index import PoolIndex, content_names
from selena.attacks.reference_matrix import SURE, ReferenceMatrix
from selena.attacks.reference_model import ReferenceModelAttack, ReferenceModelScorer
from selena.attacks.reference_statistics import Variance, lira_statistic, rmia_statistic
from selena.attacks.reference_training import (
    Training,
    draw_halves,
    pool_of,
    set_aside,
    train_reference_matrix,
)
from selena.attacks.signal_attack import ThresholdAttack
from selena.attacks.signals import confidence
from selena.auditing.oracle import MeteredOracle
from selena.auditing.predictions import Predictions
from selena.auditing.run import run_audit
from selena.data.long_tail import LongTail
from selena.defenses.memguard import MemGuard
from selena.defenses.memguard_noise import NoiseSearch
from selena.defenses.output_filters import TopK
from selena.defenses.selena import Selena
from selena.defenses.split_ai import SplitAI, SplitAIModel
from selena.defenses.undefended import Undefended
from selena.errors import ConfigError, DataError
from selena.networks.mlp import MLP
from selena.pools.remote import TaskNeeds, Terms, conditions_here, work
from selena.registry import build_attacks
from selena.seeding import child_seed
from selena.training import engine
from selena.training.model import NetworkModel
from selena.training.plans import Plan
from selena.training.recipe import Recipe
from selena.types import (
    Access,
    Attack,
    AuditSplit,
    Defense,
    Family,
    MembershipSets,
    Needs,
    Oracle,
    Records,
    concatenate,
)
from selena.workspace import Workspace
from tests.test_registry import dataset
from tests.toys import CLASSES, NETWORK, RECIPE, toy_records

UNDEFENDED = Undefended(NETWORK, CLASSES, RECIPE)
MEMBERS, OTHERS, CANDIDATES = (toy_records(24, seed=i, start=100 * i) for i in range(3))
KNOWN = MembershipSets(MEMBERS, OTHERS, candidates=CANDIDATES)
TARGET = UNDEFENDED.fit(MEMBERS, OTHERS, seed=5)
SELENA = Selena(NETWORK, CLASSES, RECIPE, RECIPE, n_submodels=3, n_nonmodels=1)
SPLIT = AuditSplit(
    MembershipSets(MEMBERS, OTHERS),
    MembershipSets(CANDIDATES, toy_records(24, seed=3, start=300)),
    toy_records(4, seed=4, start=400),
)


VALIDATION = toy_records(8, seed=8, start=800)


def runs_of(defense: Training, workspace: Workspace) -> ReferenceMatrix:
    return train_reference_matrix(defense, pool_of(KNOWN), VALIDATION, runs=4, workspace=workspace)


def seed_of(run: int) -> int:
    return child_seed(0, "reference run", run)


def drawn(runs: int, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return observed log-odds, those of runs, and which runs saw the record: half of them."""
    generator = torch.Generator().manual_seed(runs)
    observed, confidences = (
        3 * torch.randn(*shape, n, dtype=torch.float64, generator=generator)
        for shape in ((), (runs,))
    )
    order = torch.rand(runs, n, generator=generator).argsort(dim=0)
    return observed, confidences, order < runs // 2


@pytest.mark.parametrize(
    ("variance", "count", "is_shared"),
    [("auto", 6, True), ("record", 8, False), ("shared", 64, True)],
)
def test_few_reference_models_share_a_variance(
    variance: Variance, count: int, is_shared: bool
) -> None:
    """It is that of the pool, whichever records are scored."""
    _, confidences, inside = drawn(count, len(MEMBERS))
    names = content_names(MEMBERS.x, MEMBERS.y)
    runs = ReferenceMatrix(confidences.numpy(), inside.numpy(), names)
    attack = ReferenceModelAttack(UNDEFENDED, runs=count, variance=variance)
    scorer = ReferenceModelScorer(attack, "lira", MeteredOracle(TARGET, "logits"), runs, KNOWN)
    part = torch.arange(3, 10)
    observed = confidence(TARGET.logits(MEMBERS.x), MEMBERS.y)[part].numpy()
    sides = [side.numpy() for side in (inside, ~inside)]
    by_record = [
        np.array([confidences[side[:, i], i].numpy().var(ddof=1) for i in range(len(MEMBERS))])
        for side in (inside, ~inside)
    ]
    expected = []
    for phi, i in zip(observed, part.tolist(), strict=True):
        ratio = [
            norm.logpdf(
                phi,
                confidences.numpy()[side[:, i], i].mean(),
                np.sqrt(own.mean() if is_shared else own[i]),
            )
            for side, own in zip(sides, by_record, strict=True)
        ]
        expected.append(ratio[0] - ratio[1])
    np.testing.assert_allclose(scorer.score(MEMBERS.take(part)), expected, rtol=1e-9)


def test_equal_reference_models_give_finite_scores() -> None:
    """As for a target that gives labels alone: every confidence is one of two numbers."""
    _, _, inside = drawn(4, 2)
    same = np.full((4, 2), SURE)
    sides = [inside.numpy(), ~inside.numpy()]
    assert np.isfinite(lira_statistic(same[0], same, sides, [None, None])).all()
    assert np.isfinite(rmia_statistic(same[0], -same, sides)).all()
    assert np.isfinite(rmia_statistic(same[0], -same, sides[1:], offline_a=1.0)).all()


def end_of(odds: Tensor) -> float:
    return ReferenceMatrix(odds.numpy()[None], np.zeros((1, len(odds)), dtype=bool)).end


def test_certainty_is_half_a_step_above_the_last() -> None:
    """A forest of 100 trees: were 1 worth 100 in log-odds, LiRA would see nothing else."""
    votes = torch.tensor([0.0, 0.01, 0.5, 0.99, 1.0], dtype=torch.float64)
    odds = votes.logit()
    end = end_of(odds)
    probabilities = odds.clamp(-end, end).sigmoid()
    expected = torch.tensor([0.005, 0.01, 0.5, 0.99, 0.995], dtype=torch.float64)
    torch.testing.assert_close(probabilities, expected, rtol=0.01, atol=1e-4)
    labels_only = torch.tensor([-np.inf, np.inf], dtype=torch.float64)
    assert end_of(labels_only) == pytest.approx(np.log(2))
    assert end_of(torch.tensor([-300.0, 250.0], dtype=torch.float64)) == SURE


def test_rmia_is_the_ratio_to_the_mean_probability() -> None:
    observed, confidences, inside = drawn(6, 40)
    expected = observed.sigmoid() / confidences.sigmoid().mean(dim=0)
    given = observed.numpy(), confidences.numpy(), [inside.numpy(), ~inside.numpy()]
    np.testing.assert_allclose(np.exp(rmia_statistic(*given)), expected, rtol=1e-9)


def test_record_and_copies_are_in_half_of_the_models() -> None:
    pool = concatenate(MEMBERS, OTHERS, MEMBERS.take(torch.arange(5)))
    inside = draw_halves(pool, 6, seed=0)
    assert torch.equal(inside[0::2], ~inside[1::2])
    assert torch.equal(inside[:, :5], inside[:, -5:])
    assert inside[:, :48].sum(dim=1).tolist() == [24] * 6
    assert not torch.equal(inside[0], inside[2])
    with pytest.raises(DataError, match="two different records"):
        draw_halves(MEMBERS.take(torch.zeros(3, dtype=torch.int64)), 4, seed=0)


def test_reference_model_never_saw_the_other_half() -> None:
    runs = runs_of(UNDEFENDED, Workspace())
    pool = concatenate(MEMBERS, OTHERS, CANDIDATES)
    about, inside = (torch.from_numpy(each) for each in (runs.confidences, runs.inside))
    order = torch.tensor([50, 3, 70])
    assert torch.equal(runs.places(pool), torch.arange(len(pool)))
    assert torch.equal(runs.places(pool.take(order)), order)
    changed = replace(pool, x=torch.where(inside[0][:, None], pool.x, pool.x + 9))
    (first, *_) = UNDEFENDED.fit_side_by_side(
        changed, [inside[0]], VALIDATION, seeds=[seed_of(0)], workspace=Workspace()
    )
    said = confidence(first.logits(pool.x), pool.y)
    torch.testing.assert_close(said, about[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("selection", ["last", "validation"])
@pytest.mark.parametrize("kind", [UNDEFENDED, SELENA], ids=["undefended", "selena"])
def test_side_by_side_is_one_after_the_other(
    kind: Undefended | Selena, selection: Literal["last", "validation"]
) -> None:
    recipe = replace(RECIPE, selection=selection)
    defense = replace(kind, recipe=recipe)
    masks, seeds = list(draw_halves(MEMBERS, 4, seed=1)), [1, 2, 3, 4]
    together = defense.fit_side_by_side(
        MEMBERS, masks, VALIDATION, seeds=seeds, workspace=Workspace()
    )
    for seed, mask, model in zip(seeds, masks, together, strict=True):
        alone = defense.fit(MEMBERS.take(mask), VALIDATION, seed=seed)
        torch.testing.assert_close(
            model.logits(OTHERS.x), alone.logits(OTHERS.x), rtol=0, atol=1e-4
        )


@pytest.mark.parametrize(
    "defense",
    [
        UNDEFENDED,
        SELENA,
        TopK(UNDEFENDED, k=1),
        MemGuard(
            UNDEFENDED,
            inference=replace(RECIPE, loss="binary_cross_entropy", epochs=1),
            search=NoiseSearch(most_steps=3),
        ),
    ],
    ids=lambda defense: type(defense).__name__,
)
def test_runs_are_kept_and_what_they_trained_is_not(defense: Defense, tmp_path: Path) -> None:
    first = runs_of(defense, Workspace(folder=tmp_path))
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert len(kept) == 4
    assert all(name.startswith("reference-") and name.endswith(".safetensors") for name in kept)
    again = runs_of(defense, Workspace(folder=tmp_path))
    np.testing.assert_array_equal(first.confidences, again.confidences)


def test_killed_runs_go_on_after_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defense = SplitAI(NETWORK, CLASSES, RECIPE, n_submodels=3, n_nonmodels=1)
    whole = runs_of(defense, Workspace(folder=tmp_path / "whole"))
    fit, fitted = SplitAI.fit, []

    def dying(self: SplitAI, *what: object, **how: object) -> SplitAIModel:
        fitted.append(how["seed"])
        if len(fitted) == 3:
            raise KeyboardInterrupt
        return fit(self, *what, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(SplitAI, "fit", dying)
    for _ in range(2):
        try:
            runs = runs_of(defense, Workspace(folder=tmp_path / "killed"))
        except KeyboardInterrupt:
            continue
    np.testing.assert_array_equal(runs.confidences, whole.confidences)
    assert fitted == [seed_of(run) for run in (0, 1, 2, 2, 3)]


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("defense", [UNDEFENDED, SELENA], ids=["undefended", "selena"])
def test_a_kill_leaves_nothing_and_loses_no_ensemble(
    defense: Training, saved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while the second run is kept, or right after."""
    names: list[str] = []
    save = Workspace.save

    def dying(self: Workspace, name: str, tensors: dict[str, Tensor]) -> None:
        names.append(name)
        second = sum(each.startswith("reference") for each in names) == 2
        if not second or saved:
            save(self, name, tensors)
        if second:
            raise KeyboardInterrupt

    whole = runs_of(defense, Workspace())
    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "save", dying)
        with pytest.raises(KeyboardInterrupt):
            runs_of(defense, Workspace(folder=tmp_path))
    names.clear()

    def saving(self: Workspace, name: str, tensors: dict[str, Tensor]) -> None:
        names.append(name)
        save(self, name, tensors)

    monkeypatch.setattr(Workspace, "save", saving)
    again = runs_of(defense, Workspace(folder=tmp_path))
    np.testing.assert_array_equal(again.confidences, whole.confidences)
    assert len(list(tmp_path.iterdir())) == 4
    assert all(name.startswith("reference") for name in names)  # its networks were there


def test_groups_side_by_side_are_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory is scarce: same models, except for rounding."""
    together = runs_of(SELENA, Workspace())
    monkeypatch.setattr(Selena, "most_side_by_side", lambda *_: 2)
    apart = runs_of(SELENA, Workspace())
    np.testing.assert_allclose(apart.confidences, together.confidences, rtol=0, atol=1e-4)


class Louder(Undefended):
    """A subclass that trains in a way of its own."""

    def fit(self, *what: Any, **how: Any) -> NetworkModel:
        return replace(UNDEFENDED, recipe=replace(RECIPE, epochs=1)).fit(*what, **how)


def test_a_subclass_trains_in_its_own_way() -> None:
    own = runs_of(Louder(NETWORK, CLASSES, RECIPE), Workspace())
    plain = runs_of(UNDEFENDED, Workspace())
    assert not np.array_equal(own.confidences, plain.confidences)


def index_of(pool: Records) -> PoolIndex:
    return PoolIndex(content_names(pool.x, pool.y))


def test_records_are_compared_before_conversion() -> None:
    """Time stamps in float64 are one number in float32."""
    x = 1.7e9 + torch.arange(8, dtype=torch.float64)[:, None]
    pool = Records(x, torch.arange(8) % 2, torch.arange(8))
    assert draw_halves(pool, 4, seed=0).sum(dim=1).tolist() == [4] * 4
    assert index_of(pool).places(pool).tolist() == list(range(8))
    zeros = replace(pool.take(torch.tensor([0, 2])), x=torch.tensor([[0.0], [-0.0]]))
    assert len(index_of(zeros).places(zeros).unique()) == 1


def test_attacks_of_one_audit_share_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []
    fit_networks = engine.fit_networks

    def counting(factory, examples, jobs, *what, **how):  # type: ignore[no-untyped-def]
        trained.append(len(jobs))
        return fit_networks(factory, examples, jobs, *what, **how)

    monkeypatch.setattr("selena.defenses.undefended.fit_networks", counting)
    attacks = [ReferenceModelAttack(UNDEFENDED, each, runs=4) for each in ("lira", "rmia")]
    report = run_audit(TARGET, SPLIT, attacks, seed=0)
    assert trained == [4]
    assert list(report.families) == ["reference-model"]
    queries = {name: result.scores.queries for name, result in report.attacks.items()}
    assert queries == {"lira": 94, "rmia": 94}  # one per record, but for two that validate runs


@dataclass(frozen=True)
class Curious:
    """Remembers the candidates, and scores each by its place among them."""

    told: list[MembershipSets] = field(default_factory=list)
    name: str = "curious"
    family: Family = "reference-model"
    needs: Needs = "training"
    access: Access = "logits"

    def fit(self, oracle: Oracle, known: MembershipSets, **how: object) -> Curious:
        self.told.append(known)
        return self

    @property
    def calibration(self) -> MembershipSets:
        return replace(self.told[-1], candidates=None)

    def score(self, candidates: Records) -> Tensor:
        return candidates.ids.double()


def test_audit_shows_candidates_without_membership() -> None:
    curious = Curious()
    report = run_audit(TARGET, SPLIT, [curious], seed=0)
    (known,) = curious.told
    candidates, scored = known.candidates, SPLIT.evaluation.joined()[0]
    assert candidates is not None
    assert candidates.ids.tolist() == list(range(48))
    places = index_of(scored).places(candidates)
    assert sorted(places.tolist()) == list(range(48))  # all of them
    members = places < len(SPLIT.evaluation.members)
    assert 6 < int(members[:24].sum()) < 18  # and shuffled
    auc = report.attacks["curious"].variants["global"].summary.auc
    assert auc == pytest.approx(0.5, abs=0.2)
    plain = replace(curious, needs="predictions", told=[])
    run_audit(TARGET, SPLIT, [plain], seed=0)
    assert plain.told[0].candidates is None


def test_validation_of_reference_models_is_unused() -> None:
    validation, rest = set_aside(KNOWN, seed=0)
    assert len(validation) == 2
    both = concatenate(validation, rest.non_members)
    assert sorted(both.ids.tolist()) == OTHERS.ids.tolist()
    assert rest.members is MEMBERS
    with pytest.raises(DataError, match="1 non-members are known"):
        set_aside(replace(KNOWN, non_members=OTHERS.take(torch.arange(1))), seed=0)


def test_they_find_what_direct_attacks_do_not() -> None:
    """Records differ in how hard they are; reference models know how hard."""
    mixture = LongTail(classes=CLASSES, items=60, subpopulations=200)
    x, y = mixture.generate(4 * 100 + 10, seed=100)
    records = Records(torch.from_numpy(x), torch.from_numpy(y), torch.arange(len(y)))
    parts = [records.take(torch.arange(100 * i, 100 * (i + 1))) for i in range(4)]
    split = AuditSplit(
        MembershipSets(parts[0], parts[1]),
        MembershipSets(parts[2], parts[3]),
        records.take(torch.arange(400, 410)),
    )
    recipe = Recipe(epochs=8, batch_size=16, learning_rate=3e-3, precision="float32")
    defense = Undefended(MLP(60, CLASSES, hidden=(64,)), CLASSES, recipe)
    target = defense.fit(split.train, split.validation, seed=0)
    attacks: list[Attack] = [
        ThresholdAttack("confidence"),
        *(ReferenceModelAttack(defense, each, runs=8) for each in ("lira", "rmia")),
    ]
    report = run_audit(target, split, attacks, seed=0)
    auc = {name: r.variants["global"].summary.auc for name, r in report.attacks.items()}
    assert auc["lira"] > auc["confidence"] + 0.03
    assert auc["rmia"] > auc["confidence"] + 0.03


def test_only_given_candidates_can_be_scored() -> None:
    oracle = MeteredOracle(TARGET, "logits")
    attack = ReferenceModelAttack(UNDEFENDED, runs=4)
    with pytest.raises(DataError, match=r"MembershipSets\.candidates"):
        attack.fit(oracle, replace(KNOWN, candidates=None), seed=0)
    scorer = attack.fit(oracle, KNOWN, seed=0)
    with pytest.raises(DataError, match="Record 1 was not among the candidates"):
        scorer.score(concatenate(MEMBERS.take(torch.arange(1)), toy_records(2, seed=9)))


def test_an_estimator_is_no_training() -> None:
    for wrong in (LogisticRegression(), Undefended):
        with pytest.raises(ConfigError, match="EstimatorTraining"):
            ReferenceModelAttack(wrong)  # type: ignore[arg-type]


def test_predictions_alone_have_nothing_to_train_on() -> None:
    rows = np.arange(40)
    answers = torch.rand(40, 2).double().softmax(dim=1).numpy()
    table = Predictions(answers, rows % 2, rows < 20, rows % 3 == 0)
    with pytest.raises(ConfigError, match="lira need more than predictions"):
        run_audit(table, table.split(), [ReferenceModelAttack(UNDEFENDED)], seed=0)


@pytest.mark.parametrize("runs", [2, 5])
def test_runs_come_in_pairs(runs: int) -> None:
    with pytest.raises(ConfigError, match=f"runs is {runs}"):
        ReferenceModelAttack(UNDEFENDED, runs=runs)


def test_defended_target_is_repeated_with_defense() -> None:
    plan, data = Plan(hidden=(4,)), dataset("binary")
    (plain,) = build_attacks(["lira"], plan, data)
    assert isinstance(plain.defense, Undefended)  # type: ignore[attr-defined]
    settings = {"rmia": {"runs": 8, "defense": {"n_submodels": 4}}}
    attacks = build_attacks(["reference-model"], plan, data, settings, SELENA)
    assert [attack.name for attack in attacks] == ["lira", "rmia", "bavaria", "empirical_bayes"]
    assert [attack.defense.n_submodels for attack in attacks] == [3, 4, 3, 3]  # type: ignore[attr-defined]
    assert [attack.runs for attack in attacks] == [16, 8, 16, 16]  # type: ignore[attr-defined]


def test_runs_that_train_by_subjects_are_other_runs() -> None:
    workspace = Workspace()
    grouped = replace(KNOWN, members=replace(MEMBERS, subjects=torch.arange(24) // 4))
    for known in (KNOWN, grouped, KNOWN):
        train_reference_matrix(SELENA, pool_of(known), VALIDATION, runs=2, workspace=workspace)
    assert len(workspace.shared) == 2


class Machine:
    """A cluster of one machine, this process, that answers last things first."""

    named_conditions = conditions_here(TaskNeeds(threads=torch.get_num_threads())).numeric

    def __init__(self) -> None:
        self.tasks: list[str] = []

    def slots(self) -> int:
        return 1

    def run(self, function: Any, tasks: Any, shared: Any) -> Any:
        needs = TaskNeeds(threads=torch.get_num_threads())
        calls, parts = Terms("", needs, conditions_here(needs)).calls(function, tasks, shared)
        for number, task in reversed(list(enumerate(tasks))):
            self.tasks.append(task.name)
            yield number, work(calls[number], *parts).result(task.name)


def test_machines_train_the_same_references(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defense = SplitAI(NETWORK, CLASSES, RECIPE, n_submodels=3, n_nonmodels=1)

    def train(where: str) -> ReferenceMatrix:
        return runs_of(defense, Workspace(folder=tmp_path / where, executor=where))

    machine = Machine()
    monkeypatch.setattr(reference_training, "open_cluster", lambda *_: machine)
    here, there = train("local"), train("ray")
    np.testing.assert_array_equal(there.confidences, here.confidences)
    kept = [sorted(path.name for path in (tmp_path / w).iterdir()) for w in ("local", "ray")]
    assert kept[0] == kept[1]
    assert machine.tasks == [f"reference model {i}" for i in (4, 3, 2, 1)]
    for name in kept[1][:2]:
        (tmp_path / "ray" / name).unlink()
    again = train("ray")
    np.testing.assert_array_equal(again.confidences, here.confidences)
    assert len(machine.tasks) == 4 + 2  # what was kept is not trained again
