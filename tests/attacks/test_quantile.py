from __future__ import annotations

import numpy as np
import pytest
import torch

import selena
from selena.attacks.quantile import NormalLikelihood, QuantileAttack
from selena.auditing.oracle import MeteredOracle
from selena.errors import ConfigError, DataError
from selena.metrics import roc_curve
from selena.seeding import torch_generator
from selena.types import MembershipSets, Records

N, HARD, GAIN = 400, 12.0, 3.0


class Difficult:
    """Its confidence is what the first feature says, and a little more on members (the last)."""

    num_classes = 2

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        phi = HARD * x[:, 0] + GAIN * x[:, -1] + x[:, 1]
        return torch.stack([phi, torch.zeros_like(phi)], dim=1)


def some(side: int, start: int) -> Records:
    x = torch.rand(N, 3, generator=torch_generator(start, "quantile")) - 0.5
    x[:, -1] = side
    return Records(x, torch.zeros(N, dtype=torch.int64), torch.arange(start, start + N))


def auc(scorer: object, sets: MembershipSets) -> float:
    records, truth = sets.joined()
    return roc_curve(scorer.score(records).numpy(), truth.numpy()).auc  # type: ignore[attr-defined]


def test_difficulty_cancels_out() -> None:
    """A plain confidence mixes up easy non-members and hard members."""
    known, asked = (MembershipSets(some(1, start), some(0, start + 1)) for start in (0, 9))
    attack = QuantileAttack(rounds=25)
    scorer = attack.fit(MeteredOracle(Difficult(), "logits"), known, seed=0)
    plain = selena.ThresholdAttack("confidence").fit(MeteredOracle(Difficult(), "logits"), known)
    assert auc(plain, asked) < 0.85
    assert auc(scorer, asked) > 0.98


def test_regressor_learns_from_non_members_only() -> None:
    known, other = MembershipSets(some(1, 0), some(0, 1)), MembershipSets(some(1, 5), some(0, 1))
    attack, oracle = QuantileAttack(rounds=3), MeteredOracle(Difficult(), "logits")
    first, second = (attack.fit(oracle, each, seed=0) for each in (known, other))
    assert torch.equal(first.score(known.members), second.score(known.members))
    learned = set(known.non_members.ids.tolist()) - set(first.calibration.non_members.ids.tolist())
    assert len(learned) == round(0.8 * N)
    assert len(first.calibration.members) == N


def test_loss_is_the_normal_likelihood() -> None:
    outputs = torch.tensor([[9.0, 9.0, 1.0, 0.5], [2.0, -1.0, 9.0, 9.0]])
    target = torch.tensor([[0.0, 1.0], [3.0, 0.0]])
    loss = NormalLikelihood()(lambda _: outputs, outputs, target, epoch=0)
    normal = torch.distributions.Normal(torch.tensor([1.0, 2.0]), torch.tensor([0.5, -1.0]).exp())
    constant = 0.5 * np.log(2 * np.pi)
    expected = -normal.log_prob(torch.tensor([0.0, 3.0])).mean() - constant
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)


def test_audits_a_model_that_nobody_retrains() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 4)), rng.integers(0, 2, 200)

    def model(asked: np.ndarray) -> np.ndarray:
        p = 1 / (1 + np.exp(-asked[:, 0]))
        return np.stack([1 - p, p], axis=1)

    attack = QuantileAttack(rounds=2)
    report = selena.audit(model, (x[:100], y[:100]), (x[100:], y[100:]), attacks=[attack], fpr=1.0)
    assert report.auc.attack == "quantile"
    assert report.auc.queries_per_record == pytest.approx(1, abs=0.5)


def test_bad_settings_are_errors() -> None:
    with pytest.raises(ConfigError, match="rounds is 0"):
        QuantileAttack(rounds=0)
    with pytest.raises(ConfigError, match="share between 0 and 1"):
        QuantileAttack(held_out=1.0)
    one = some(0, 0).take(torch.arange(1))
    with pytest.raises(DataError, match="at least two of each"):
        QuantileAttack().fit(MeteredOracle(Difficult(), "logits"), MembershipSets(one, one))
