"""Attacks by reference runs: the formulas, the halves, and what is trained when."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from torch import Tensor

from selena.attacks.reference_model import ReferenceModelAttack, lira, rmia
from selena.attacks.reference_runs import (
    SURE,
    ReferenceRuns,
    bounded,
    draw_halves,
    end_of,
    reference_runs,
)
from selena.attacks.threshold import ThresholdAttack
from selena.auditing.oracle import MeteredOracle
from selena.auditing.run import run_audit
from selena.data.long_tail import LongTail
from selena.defenses.memguard import MemGuard
from selena.defenses.output_filters import TopK
from selena.defenses.selena import Selena
from selena.defenses.undefended import Undefended
from selena.errors import ConfigError, DataError
from selena.networks.mlp import MLP
from selena.registry import build_attacks
from selena.seeding import child_seed
from selena.signals import confidence
from selena.training import engine
from selena.training.model import NetworkModel
from selena.training.plans import Plan
from selena.training.recipe import Recipe
from selena.types import Attack, AuditSplit, Defense, Knowledge, Records, concatenate
from selena.workspace import Workspace
from tests.test_registry import dataset
from tests.toys import CLASSES, NETWORK, RECIPE, toy_records

UNDEFENDED = Undefended(NETWORK, CLASSES, RECIPE)
MEMBERS, OTHERS, CANDIDATES = (toy_records(24, seed=i, start=100 * i) for i in range(3))
KNOWN = Knowledge(MEMBERS, OTHERS, candidates=CANDIDATES)
TARGET = UNDEFENDED.fit(MEMBERS, OTHERS, seed=5)


def runs_of(defense: Defense, workspace: Workspace, known: Knowledge = KNOWN) -> ReferenceRuns:
    return reference_runs(defense, known, 4, seed=0, workspace=workspace)


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


def test_lira_is_the_ratio_of_two_normal_likelihoods() -> None:
    observed, confidences, inside = drawn(8, 30)
    scores = lira(observed, confidences, inside, None)
    for i in range(30):
        seen, unseen = (confidences[side[:, i], i].numpy() for side in (inside, ~inside))
        expected = norm.logpdf(observed[i], seen.mean(), seen.std(ddof=1)) - norm.logpdf(
            observed[i], unseen.mean(), unseen.std(ddof=1)
        )
        assert float(scores[i]) == pytest.approx(float(expected), rel=1e-9)


def test_few_runs_share_the_spread_of_all_records_of_the_pool() -> None:
    observed, confidences, inside = drawn(8, 30)
    runs = ReferenceRuns(confidences, inside, {})
    part = slice(3, 10)  # the spread is that of the pool, whichever records are asked about
    scores = lira(observed[part], confidences[:, part], inside[:, part], runs)
    spreads = [
        np.sqrt(np.mean([confidences[side[:, i], i].numpy().var(ddof=1) for i in range(30)]))
        for side in (inside, ~inside)
    ]
    for score, i in zip(scores.tolist(), range(3, 10), strict=True):
        means = [float(confidences[side[:, i], i].mean()) for side in (inside, ~inside)]
        likelihoods = [
            norm.logpdf(float(observed[i]), m, s) for m, s in zip(means, spreads, strict=True)
        ]
        assert score == pytest.approx(likelihoods[0] - likelihoods[1], rel=1e-9)


def test_equal_runs_give_finite_scores() -> None:
    """As where only labels are told: every confidence is one of two numbers."""
    _, _, inside = drawn(4, 2)
    same = torch.full((4, 2), SURE, dtype=torch.float64)
    assert bool(torch.isfinite(lira(same[0], same, inside, None)).all())
    assert bool(torch.isfinite(rmia(same[0], -same)).all())


def test_certainty_is_worth_half_a_step_more_than_the_last_number_before_it() -> None:
    """A forest of 100 trees: were 1 worth 100 in log-odds, LiRA would see nothing else."""
    votes = torch.tensor([0.0, 0.01, 0.5, 0.99, 1.0], dtype=torch.float64)
    odds = votes.logit()
    probabilities = bounded(odds, end_of(odds)).sigmoid()
    expected = torch.tensor([0.005, 0.01, 0.5, 0.99, 0.995], dtype=torch.float64)
    torch.testing.assert_close(probabilities, expected, rtol=0.01, atol=1e-4)
    labels_only = torch.tensor([-np.inf, np.inf], dtype=torch.float64)
    assert bounded(labels_only, end_of(labels_only)).sigmoid().tolist() == pytest.approx(
        [1 / 3, 2 / 3]
    )
    networks = torch.tensor([-300.0, 250.0], dtype=torch.float64)
    assert bounded(networks, end_of(networks)).tolist() == [-SURE, SURE]


def test_rmia_is_the_ratio_to_the_mean_probability() -> None:
    observed, confidences, _ = drawn(6, 40)
    expected = observed.sigmoid() / confidences.sigmoid().mean(dim=0)
    torch.testing.assert_close(rmia(observed, confidences).exp(), expected)


@given(st.floats(0.5, 4.0), st.integers(0, 100))
def test_rmia_ranks_as_the_comparison_with_a_population_does(gamma: float, seed: int) -> None:
    """The published score, Pr_z(ratio(x) / ratio(z) >= gamma), never falls as ours rises."""
    ratio, population = torch.rand(2, 50, generator=torch.Generator().manual_seed(seed)).double()
    published = (ratio[:, None] / population >= gamma).double().mean(dim=1)
    assert bool((published[ratio.argsort()].diff() >= 0).all())


def test_each_record_is_in_half_of_the_runs_with_its_copies() -> None:
    pool = concatenate(MEMBERS, OTHERS, MEMBERS.take(torch.arange(5)))
    inside = draw_halves(pool, 6, seed=0)
    assert torch.equal(inside[0::2], ~inside[1::2])
    assert torch.equal(inside[:, :5], inside[:, -5:])
    assert inside[:, :48].sum(dim=1).tolist() == [24] * 6
    assert not torch.equal(inside[0], inside[2])
    with pytest.raises(DataError, match="two different records"):
        draw_halves(MEMBERS.take(torch.zeros(3, dtype=torch.int64)), 4, seed=0)


def test_a_run_answers_as_its_network_would_and_never_saw_the_other_half() -> None:
    runs = runs_of(UNDEFENDED, Workspace())
    pool = concatenate(MEMBERS, OTHERS, CANDIDATES)
    about, inside = runs.about(pool)
    assert torch.equal(about, runs.confidences)
    assert torch.equal(inside, runs.inside)
    order = torch.tensor([50, 3, 70])
    assert torch.equal(runs.about(pool.take(order))[0], about[:, order])
    changed = replace(pool, x=torch.where(inside[0][:, None], pool.x, pool.x + 9))
    (first, *_) = UNDEFENDED.fit_side_by_side(
        changed, [inside[0]], seeds=[seed_of(0)], workspace=Workspace()
    )
    said = confidence(first.logits(pool.x), pool.y)
    torch.testing.assert_close(said, about[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("selection", ["last", "validation"])
def test_side_by_side_is_one_after_the_other(selection: Literal["last", "validation"]) -> None:
    recipe = replace(RECIPE, selection=selection)
    defense = replace(UNDEFENDED, recipe=recipe)
    masks = list(draw_halves(MEMBERS, 4, seed=1))
    together = defense.fit_side_by_side(MEMBERS, masks, seeds=[1, 2, 3, 4], workspace=Workspace())
    for seed, mask, model in zip([1, 2, 3, 4], masks, together, strict=True):
        alone = defense.fit(MEMBERS.take(mask), MEMBERS.take(~mask), seed=seed)
        torch.testing.assert_close(
            model.logits(OTHERS.x), alone.logits(OTHERS.x), rtol=0, atol=1e-4
        )


@pytest.mark.parametrize(
    "defense",
    [
        UNDEFENDED,
        Selena(NETWORK, CLASSES, RECIPE, RECIPE, k=3, l=1),
        TopK(UNDEFENDED, k=1),
        MemGuard(UNDEFENDED, inference=replace(RECIPE, loss="binary_cross_entropy", epochs=1)),
    ],
    ids=lambda defense: type(defense).__name__,
)
def test_runs_are_kept_and_what_they_trained_is_not(defense: Defense, tmp_path: Path) -> None:
    first = runs_of(defense, Workspace(folder=tmp_path))
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert len(kept) == 4
    assert all(name.startswith("reference-") and name.endswith(".safetensors") for name in kept)
    again = runs_of(defense, Workspace(folder=tmp_path))
    assert torch.equal(first.confidences, again.confidences)
    assert float(first.confidences.abs().max()) <= SURE


def test_killed_runs_go_on_after_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defense = Selena(NETWORK, CLASSES, RECIPE, RECIPE, k=3, l=1)
    whole = runs_of(defense, Workspace(folder=tmp_path / "whole"))
    fit, fitted = Selena.fit, []

    def dying(self: Selena, *what: object, **how: object) -> NetworkModel:
        fitted.append(how["seed"])
        if len(fitted) == 3:
            raise KeyboardInterrupt
        return fit(self, *what, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Selena, "fit", dying)
    for _ in range(2):
        try:
            runs = runs_of(defense, Workspace(folder=tmp_path / "killed"))
        except KeyboardInterrupt:
            continue
    assert torch.equal(runs.confidences, whole.confidences)
    assert fitted == [seed_of(run) for run in (0, 1, 2, 2, 3)]


def test_attacks_of_one_audit_share_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []
    fit_networks = engine.fit_networks

    def counting(factory, examples, jobs, *what, **how):  # type: ignore[no-untyped-def]
        trained.append(len(jobs))
        return fit_networks(factory, examples, jobs, *what, **how)

    monkeypatch.setattr("selena.defenses.undefended.fit_networks", counting)
    split = AuditSplit(
        Knowledge(MEMBERS, OTHERS),
        Knowledge(CANDIDATES, toy_records(24, seed=3, start=300)),
        OTHERS,
    )
    split = replace(split, validation=toy_records(4, seed=4, start=400))
    attacks = [ReferenceModelAttack(UNDEFENDED, each, runs=4) for each in ("lira", "rmia")]
    report = run_audit(TARGET, split, attacks, seed=0)
    assert trained == [4]
    assert list(report.families) == ["reference-model"]
    queries = {name: result.scores.queries for name, result in report.attacks.items()}
    assert queries == {"lira": 96, "rmia": 96}  # one query a record, known or scored


def test_they_find_what_direct_attacks_do_not() -> None:
    """Records differ in how hard they are; reference runs know how hard."""
    mixture = LongTail(classes=CLASSES, items=60, subpopulations=200)
    x, y = mixture.generate(4 * 100 + 10, seed=100)
    records = Records(torch.from_numpy(x), torch.from_numpy(y), torch.arange(len(y)))
    parts = [records.take(torch.arange(100 * i, 100 * (i + 1))) for i in range(4)]
    split = AuditSplit(
        Knowledge(parts[0], parts[1]),
        Knowledge(parts[2], parts[3]),
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


def test_candidates_must_be_told_and_no_stranger_asked_about() -> None:
    oracle = MeteredOracle(TARGET, "logits")
    attack = ReferenceModelAttack(UNDEFENDED, runs=4)
    with pytest.raises(DataError, match=r"Knowledge\.candidates"):
        attack.fit(oracle, replace(KNOWN, candidates=None), seed=0)
    scorer = attack.fit(oracle, KNOWN, seed=0)
    with pytest.raises(DataError, match="Record 1 was not among the candidates"):
        scorer.score(concatenate(MEMBERS.take(torch.arange(1)), toy_records(2, seed=9)))


@pytest.mark.parametrize("runs", [2, 5])
def test_runs_come_in_pairs(runs: int) -> None:
    with pytest.raises(ConfigError, match=f"runs is {runs}"):
        ReferenceModelAttack(UNDEFENDED, runs=runs)


def test_a_defended_target_is_repeated_with_its_defense() -> None:
    plan, data = Plan(hidden=(4,)), dataset("binary")
    (plain,) = build_attacks(["lira"], plan, data)
    assert isinstance(plain.defense, Undefended)  # type: ignore[attr-defined]
    defense = Selena(NETWORK, CLASSES, RECIPE, RECIPE, k=3, l=1)
    settings = {"rmia": {"runs": 8, "defense": {"k": 4}}}
    attacks = build_attacks(["reference-model"], plan, data, settings, defense)
    assert [attack.name for attack in attacks] == ["lira", "rmia"]
    assert [attack.defense.k for attack in attacks] == [3, 4]  # type: ignore[attr-defined]
    assert [attack.runs for attack in attacks] == [16, 8]  # type: ignore[attr-defined]
