"""DMP, PATE, MIST, DynaNoise and the convex-concave loss: each against its formula."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from selena.content.keyed import normals_by_content
from selena.defenses.convex_concave_loss import Concave, ConvexConcave, ConvexConcaveLoss
from selena.defenses.dmp import DMP, surest
from selena.defenses.dyna_noise import DynaNoise
from selena.defenses.mist import MIST, average, cross_difference
from selena.defenses.pate import PATE, teachers_of
from selena.defenses.undefended import Undefended
from selena.errors import ConfigError, StoreError
from selena.types import Records
from tests.toys import CLASSES, NETWORK, RECIPE, toy_records

TRAIN, VALIDATION = toy_records(80), toy_records(60, seed=7, start=1000)
RELABELLED = Records(VALIDATION.x, (VALIDATION.y + 1) % CLASSES, VALIDATION.ids)
BASE = (NETWORK, CLASSES, RECIPE)


def same(x: Tensor) -> Tensor:
    return x


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("concave", ["exponential", "quadratic"])
def test_convex_concave_loss_by_hand(concave: Concave) -> None:
    logits, y = randn(10, 4), torch.arange(10) % 4
    expected = 0.0
    for i in range(10):
        p = float(logits[i].double().softmax(dim=0)[y[i]])
        term = -math.exp(p) if concave == "exponential" else -(p + p * p / 2)
        expected += (0.3 * -math.log(p) + 0.7 * term) / 10
    assert float(ConvexConcave(0.3, concave)(same, logits, y, epoch=0)) == pytest.approx(expected)


def test_normals_by_content_are_standard_normal() -> None:
    drawn = normals_by_content(randn(20_000, 2), 3, 5)
    n = drawn.numel()
    assert abs(float(drawn.mean())) < 6 / math.sqrt(n)
    assert float(drawn.var()) == pytest.approx(1, abs=6 * math.sqrt(2 / n))
    # Of one record all numbers are independent: no two columns go together.
    correlation = np.corrcoef(drawn.numpy().T) - np.eye(5)
    assert np.abs(correlation).max() < 6 / math.sqrt(20_000)
    assert torch.equal(normals_by_content(randn(20_000, 2)[7:9], 3, 5), drawn[7:9])
    assert not torch.equal(normals_by_content(randn(20_000, 2), 4, 5), drawn)


def test_dyna_noise_by_hand() -> None:
    base = Undefended(*BASE)
    bare = base.fit(TRAIN, VALIDATION, seed=1).logits(TRAIN.x)
    model = DynaNoise(base, base_variance=0.5, sensitivity=3.0, temperature=2.0).fit(
        TRAIN, VALIDATION, seed=1
    )
    p = bare.double().softmax(dim=1)
    entropy = -(p * p.log()).sum(dim=1)
    variance = 0.5 * (1 + 3 * (1 - entropy / math.log(CLASSES)))
    drawn = normals_by_content(TRAIN.x, model.key, CLASSES)
    expected = (bare + variance.sqrt()[:, None] * drawn) / 2
    torch.testing.assert_close(model.logits(TRAIN.x), expected.float(), rtol=1e-4, atol=1e-4)
    assert torch.equal(model.logits(TRAIN.x), model.logits(TRAIN.x))


def test_dmp_keeps_the_surest_references() -> None:
    answers = torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.9, 0.1], [0.2, 0.8]])
    assert surest(answers, 2).tolist() == [1, 2]
    assert surest(answers, 4).tolist() == [0, 1, 2, 3]


def test_dmp_and_pate_ignore_validation_labels() -> None:
    for defense in (DMP(*BASE, RECIPE), PATE(*BASE, RECIPE, n_teachers=2)):
        one, other = (defense.fit(TRAIN, v, seed=1) for v in (VALIDATION, RELABELLED))
        assert torch.equal(one.logits(TRAIN.x), other.logits(TRAIN.x))


def test_dmp_student_learns_the_teachers_answers() -> None:
    recipe = replace(RECIPE, epochs=20)
    swapped = Records(TRAIN.x, (TRAIN.y + 1) % CLASSES, TRAIN.ids)
    student = DMP(NETWORK, CLASSES, recipe, recipe).fit(swapped, VALIDATION, seed=1)
    # The teacher's labels are shifted by one; those of the validation records are not.
    shifted = student.logits(VALIDATION.x).argmax(dim=1) == (VALIDATION.y + 1) % CLASSES
    assert float(shifted.float().mean()) > 0.6


def test_a_record_moves_no_other_to_another_teacher() -> None:
    teacher = teachers_of(TRAIN, 5, key=3)
    assert torch.equal(teachers_of(TRAIN.take(torch.arange(1, 80)), 5, key=3), teacher[1:])
    assert set(teacher.tolist()) == set(range(5))
    assert not torch.equal(teachers_of(TRAIN, 5, key=4), teacher)


def test_copies_and_subjects_share_a_teacher() -> None:
    twice = TRAIN.take(torch.arange(80).repeat(2))
    teacher = teachers_of(twice, 40, key=3)
    assert torch.equal(teacher[:80], teacher[80:])
    subjects = torch.arange(80) // 4
    subjects[:4] = -1
    teacher = teachers_of(replace(TRAIN, subjects=subjects), 40, key=3)
    assert all(len(set(teacher[i : i + 4].tolist())) == 1 for i in range(4, 80, 4))
    assert torch.equal(teacher[:4], teachers_of(TRAIN, 40, key=3)[:4])


def test_epsilon_of_pate_by_hand() -> None:
    # 50 answers with noise 10 are one Gaussian mechanism of mu = sqrt(2 * 50) / 10 = 1.
    gaussian = PATE(*BASE, RECIPE, noise_scale=10.0, delta=1e-5)
    assert gaussian.epsilon(50) == pytest.approx(4.377, abs=0.01)
    assert gaussian.epsilon(200) > gaussian.epsilon(50)
    laplace = PATE(*BASE, RECIPE, noise="laplace", noise_scale=20.0, delta=1e-5)
    assert laplace.epsilon(5) == pytest.approx(0.5)
    rho = 1000 * 0.1**2 / 2
    assert laplace.epsilon(1000) == pytest.approx(rho + 2 * math.sqrt(rho * math.log(1e5)))
    assert PATE(*BASE, RECIPE, noise_scale=0.0).epsilon(1) == math.inf


def test_pate_states_the_epsilon_of_its_answers() -> None:
    defense = PATE(*BASE, RECIPE, n_teachers=2, noise_scale=5.0, queries=20)
    model = defense.fit(TRAIN, VALIDATION, seed=1)
    assert (model.epsilon, model.delta) == (defense.epsilon(20), 1e-5)
    with pytest.raises(StoreError, match="PATE"):
        defense.restore({"weight": torch.zeros(1)})


def test_without_noise_pate_takes_the_majority() -> None:
    votes = torch.tensor([[3, 1, 0], [0, 2, 5]])
    assert PATE(*BASE, RECIPE, noise_scale=0.0)._noisy_winners(votes, 1).tolist() == [0, 2]
    loud = PATE(*BASE, RECIPE, noise_scale=1e6)._noisy_winners(votes.repeat(200, 1), 1)
    assert set(loud.tolist()) == {0, 1, 2}


def test_cross_difference_and_average_by_hand() -> None:
    p = torch.tensor([[0.7, 0.3], [0.5, 0.5]])
    others = torch.tensor([[[0.5, 0.5], [0.5, 0.5]], [[0.6, 0.4], [1.0, 0.0]]])
    assert float(cross_difference(p, others)) == pytest.approx((0.4 + 0 + 0.2 + 1.0) / 4)
    networks = [nn.BatchNorm1d(1), nn.BatchNorm1d(1), nn.BatchNorm1d(1)]
    for value, network in zip((2, 4), networks, strict=False):
        for tensor in network.state_dict().values():
            tensor.fill_(value)
    average(networks[:2], networks[2])
    state = networks[2].state_dict()
    assert float(state["weight"]) == float(state["running_var"]) == 3
    assert int(state["num_batches_tracked"]) == 2


def test_mist_learns_members_less_by_heart() -> None:
    def surest_labels(weight: float) -> float:
        recipe = replace(RECIPE, epochs=30)
        model = MIST(NETWORK, CLASSES, recipe, n_copies=2, cross_weight=weight).fit(
            TRAIN, VALIDATION, seed=1
        )
        p = model.logits(TRAIN.x).softmax(dim=1)
        return float(p.gather(1, TRAIN.y[:, None]).mean())

    assert surest_labels(0.0) > surest_labels(5.0) + 0.05


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ConvexConcaveLoss(*BASE, alpha=0.0), "alpha is 0.0"),
        (lambda: DynaNoise(Undefended(*BASE), temperature=0.0), "temperature > 0"),
        (lambda: DMP(*BASE, RECIPE, kept_share=0.0), "kept_share"),
        (lambda: PATE(*BASE, RECIPE, n_teachers=1), "n_teachers >= 2"),
        (lambda: PATE(*BASE, RECIPE, queries=0), "queries is 0"),
        (lambda: MIST(*BASE, n_copies=1), "n_copies >= 2"),
        (lambda: MIST(NETWORK, CLASSES, replace(RECIPE, loss="mse")), "cross_entropy"),
    ],
)
def test_impossible_settings_are_refused(make: object, words: str) -> None:
    assert callable(make)
    with pytest.raises(ConfigError, match=words):
        make()
