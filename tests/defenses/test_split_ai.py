"""Split-AI: who never sees what, and who answers whom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from selena.content.keyed import ContentIndex, content_digests, group_by_content
from selena.defenses import split_ai
from selena.defenses.selena import Selena
from selena.defenses.split_ai import SplitAI, draw_non_model_sets
from selena.errors import ConfigError, DataError, StoreError
from selena.metrics.roc import roc_curve
from selena.training.inference import predict
from selena.types import Records, TargetModel, concatenate
from tests.toys import CLASSES, NETWORK, RECIPE, toy_records

K, L = 5, 2
SPLIT_AI = SplitAI(NETWORK, CLASSES, RECIPE, n_submodels=K, n_nonmodels=L)
VALIDATION = toy_records(8, seed=7, start=1000)


def with_x(records: Records, x: torch.Tensor) -> Records:
    return Records(x, records.y, records.ids)


@given(
    n=st.integers(1, 60),
    k=st.integers(2, 12),
    data=st.data(),
    seed=st.integers(0, 2**31),
)
def test_every_record_draws_l_of_k(n: int, k: int, data: st.DataObject, seed: int) -> None:
    l_ = data.draw(st.integers(1, k - 1))
    sets = draw_non_model_sets(toy_records(n), k, l_, seed=seed)
    assert (sets.excluded.shape, sets.k, sets.l) == ((n, k), k, l_)
    assert bool((sets.excluded.sum(dim=1) == l_).all())
    again = draw_non_model_sets(toy_records(n), k, l_, seed=seed)
    assert torch.equal(sets.excluded, again.excluded)
    trained = torch.cat([sets.training_rows(i) for i in range(k)])
    assert torch.equal(torch.bincount(trained, minlength=n), torch.full((n,), k - l_))


def test_draws_are_uniform() -> None:
    sets = draw_non_model_sets(toy_records(20_000), K, L, seed=3)
    share = sets.excluded.float().mean(dim=0)
    # Five standard deviations of a share of 20,000 draws.
    assert float((share - L / K).abs().max()) < 5 * (0.4 * 0.6 / 20_000) ** 0.5
    pairs = sets.excluded.float().T @ sets.excluded.float() / 20_000
    expected = L * (L - 1) / (K * (K - 1))
    off_diagonal = pairs[~torch.eye(K, dtype=torch.bool)]
    assert float((off_diagonal - expected).abs().max()) < 5 * (0.1 * 0.9 / 20_000) ** 0.5


def test_equal_records_share_their_non_models() -> None:
    records = toy_records(30)
    twice = concatenate(records, records)
    sets = draw_non_model_sets(twice, K, L, seed=1)
    assert torch.equal(sets.excluded[:30], sets.excluded[30:])


def test_records_of_one_subject_share_their_non_models() -> None:
    grouped = replace(toy_records(60), subjects=torch.arange(60) % 7)
    excluded = draw_non_model_sets(grouped, K, L, seed=1).excluded
    for subject in range(7):
        assert len(excluded[subject::7].unique(dim=0)) == 1
    assert len(excluded.unique(dim=0)) > 3


def test_near_copies_share_the_draw_of_one() -> None:
    records = toy_records(200)
    copies = records.take(torch.arange(30))
    both = concatenate(records, with_x(copies, copies.x + 1e-4))
    exact = draw_non_model_sets(both, 12, 5, seed=1).excluded
    found = draw_non_model_sets(both, 12, 5, near_duplicates="auto", seed=1).excluded
    assert torch.equal(found[:30], found[200:])
    assert torch.equal(found[30:200], exact[30:200])
    kept = [exact[:30] == found[:30], exact[200:] == found[200:]]
    assert bool((kept[0].all(dim=1) | kept[1].all(dim=1)).all())
    assert not torch.equal(exact[:30], exact[200:])


def test_both_stages_pass_the_setting_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def join(x: object, contents: object, units: np.ndarray, near: object) -> np.ndarray:
        asked.append(near)
        return units

    monkeypatch.setattr(split_ai, "join_near", join)
    replace(SPLIT_AI, near_duplicates=3.0).fit(toy_records(60), VALIDATION, seed=1)
    distilled = Selena(NETWORK, CLASSES, RECIPE, RECIPE, n_submodels=K, n_nonmodels=L)
    distilled.fit(toy_records(60), VALIDATION, seed=1)
    assert asked == [3.0, "auto"]


@pytest.mark.parametrize("kind", [SPLIT_AI, Selena(NETWORK, CLASSES, RECIPE, RECIPE)])
def test_wrong_near_duplicates_are_refused(kind: SplitAI | Selena) -> None:
    with pytest.raises(ConfigError, match="near_duplicates"):
        replace(kind, near_duplicates=-1.0)


def test_subjects_with_a_record_in_common_are_one() -> None:
    records = toy_records(40)
    # A row of the first subject has the content of one of the second: no sub-model may see either.
    shared = concatenate(records, records.take(torch.tensor([0, 1])))
    grouped = replace(shared, subjects=torch.tensor([-1] * 40 + [5, 5]))
    excluded = draw_non_model_sets(grouped, K, L, seed=1).excluded
    assert len(excluded[[0, 1, 40, 41]].unique(dim=0)) == 1
    assert len(excluded[2:40].unique(dim=0)) > 3


@pytest.mark.parametrize("subjects", [torch.full((40,), -1), torch.arange(40).flip(0)])
def test_subjects_of_one_change_no_draw(subjects: torch.Tensor) -> None:
    records = toy_records(40)
    plain = draw_non_model_sets(records, K, L, seed=1)
    alone = draw_non_model_sets(replace(records, subjects=subjects), K, L, seed=1)
    assert torch.equal(plain.bits, alone.bits)


def test_nan_in_unseen_records_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = toy_records(60)
    clean = SPLIT_AI.fit(train, VALIDATION, seed=4)
    # The sets are drawn by content, which poison changes: hold them fixed.
    monkeypatch.setattr(split_ai, "draw_non_model_sets", lambda *_args, **_kwargs: clean.sets)
    poison = 1e30  # finite, for `fit` refuses NaN
    for i in range(K):
        for hidden in (True, False):
            x = train.x.clone()
            x[clean.sets.excluded[:, i] == hidden] = poison
            poisoned = SPLIT_AI.fit(with_x(train, x), VALIDATION, seed=4)
            pairs = zip(
                clean.submodels[i].parameters(), poisoned.submodels[i].parameters(), strict=True
            )
            assert all(torch.equal(a, b) for a, b in pairs) == hidden


def test_adaptive_inference_by_hand() -> None:
    train, others = toy_records(40), toy_records(25, seed=8)
    model = SPLIT_AI.fit(train, VALIDATION, seed=2)
    every = torch.stack([predict(s, train.x).softmax(1) for s in model.submodels])
    by_hand = torch.stack(
        [every[model.sets.excluded[row], row].mean(dim=0) for row in range(len(train))]
    )
    torch.testing.assert_close(model.logits(train.x).exp(), by_hand)
    # Any other input: the mean of some training record's L-set.
    every = torch.stack([predict(s, others.x).softmax(1) for s in model.submodels])
    l_sets = model.sets.excluded.unique(dim=0)
    answers = model.logits(others.x).exp()
    for row in range(len(others)):
        possible = torch.stack([every[chosen, row].mean(dim=0) for chosen in l_sets])
        assert float((possible - answers[row]).abs().amax(dim=1).min()) < 1e-6


def test_a_repeated_query_gets_the_same_answer() -> None:
    model = SPLIT_AI.fit(toy_records(40), VALIDATION, seed=2)
    query = toy_records(30, seed=9).x
    first = model.logits(query)
    assert torch.equal(first, model.logits(query))
    order = torch.randperm(30)
    torch.testing.assert_close(first[order], model.logits(query[order]))


def test_a_member_is_recognised_by_content() -> None:
    train = toy_records(40, bits=True)
    index = ContentIndex(content_digests(train.x, 5), 5)
    distinct = group_by_content(train.x)
    order = torch.randperm(40)
    found = index.answering_rows(train.x[order].float())
    assert torch.equal(distinct[found], distinct[order])
    zero = torch.zeros(1, 12)
    assert torch.equal(content_digests(zero, 5), content_digests(-zero, 5))
    assert not torch.equal(content_digests(zero, 5), content_digests(zero, 6))


def test_unseen_inputs_spread_over_the_l_sets() -> None:
    train = toy_records(50)
    index = ContentIndex(content_digests(train.x, 1), 1)
    rows = index.answering_rows(torch.randn(5000, 12, generator=torch.Generator().manual_seed(0)))
    counts = torch.bincount(rows, minlength=50).float()
    assert float((counts - 100).abs().max()) < 5 * 100**0.5


@pytest.mark.parametrize(("k", "l_"), [(5, 5), (5, 6), (5, 0), (1, 1)])
def test_k_must_exceed_l(k: int, l_: int) -> None:
    with pytest.raises(ConfigError, match=f"n_submodels={k}, n_nonmodels={l_}"):
        SplitAI(NETWORK, CLASSES, RECIPE, n_submodels=k, n_nonmodels=l_)
    with pytest.raises(ConfigError, match=f"n_submodels={k}, n_nonmodels={l_}"):
        Selena(NETWORK, CLASSES, RECIPE, RECIPE, n_submodels=k, n_nonmodels=l_)


def test_student_learns_from_non_models_alone() -> None:
    train = toy_records(60)
    selena = Selena(NETWORK, CLASSES, RECIPE, RECIPE, n_submodels=K, n_nonmodels=L)
    student = selena.fit(train, VALIDATION, seed=4)
    teacher = SPLIT_AI.fit(train, VALIDATION, seed=4)  # the same first stage
    soft = teacher.logits(train.x).exp()
    learned = student.logits(train.x).softmax(1)
    labels = torch.nn.functional.one_hot(train.y, CLASSES)
    to_soft, to_labels = ((learned - target).abs().mean() for target in (soft, labels))
    assert to_soft < to_labels


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused_before_training() -> None:
    train = toy_records(20)
    x = train.x.clone()
    x[3, 0] = float("inf")
    with pytest.raises(DataError, match="record 3"):
        SPLIT_AI.fit(with_x(train, x), VALIDATION, seed=0)
    with pytest.raises(DataError, match="out of range"):
        SPLIT_AI.fit(Records(train.x, train.y + CLASSES, train.ids), VALIDATION, seed=0)


def test_a_foreign_state_is_refused() -> None:
    with pytest.raises(StoreError, match="Split-AI"):
        SPLIT_AI.restore({"weights": torch.zeros(1)})


def test_ensemble_gives_subjects_away_not_the_student() -> None:
    """As docs say: how much the answers to a person's records differ tells who was in training."""

    def persons(seed: int) -> Records:
        records = toy_records(80, seed=seed, start=1000 * seed).take(torch.arange(80).repeat(3))
        near = 0.02 * torch.randn(records.x.shape, generator=torch.Generator().manual_seed(seed))
        return replace(records, x=records.x + near, subjects=torch.arange(80).repeat(3))

    def spread(model: TargetModel, records: Records) -> np.ndarray:
        answers = model.logits(records.x).exp().view(3, 80, -1)
        return np.asarray(answers.std(dim=0).mean(dim=1))

    members, strangers = persons(1), persons(2)
    truth = np.arange(160) < 80
    aucs = []
    for defense in (
        SPLIT_AI,
        Selena(NETWORK, CLASSES, RECIPE, RECIPE, n_submodels=K, n_nonmodels=L),
    ):
        model = defense.fit(members, VALIDATION, seed=1)
        scores = np.concatenate([-spread(model, each) for each in (members, strangers)])
        aucs.append(roc_curve(scores, truth).auc)
    assert aucs[0] > 0.9
    assert 0.35 < aucs[1] < 0.65
