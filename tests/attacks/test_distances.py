"""Distances from the boundary: right where they are known, equal to plain implementations."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import pytest
import torch
from torch import Tensor, nn

from selena.attacks.boundary import BoundaryDistanceAttack
from selena.attacks.box import Box
from selena.attacks.hopskipjump import HopSkipJumpAttack
from selena.auditing.oracle import MeteredOracle
from selena.errors import ConfigError, DataError
from selena.networks.mlp import MLP
from selena.seeding import seeded
from selena.training.model import NetworkModel
from selena.types import MembershipSets, Records
from tests.attacks import plain

D = 8
DESCENT = BoundaryDistanceAttack(steps=150, searches=6, learning_rate=0.02)
WALK = HopSkipJumpAttack(queries=400, first_samples=30, starts=20)


def halves(width: int = D) -> NetworkModel:
    """A plane through the middle of the box: sum of the features below or above half of it."""
    network = nn.Linear(width, 2)
    with torch.no_grad():
        network.weight.copy_(torch.stack([-torch.ones(width), torch.ones(width)]))
        network.bias.copy_(torch.tensor([width / 2, -width / 2]))
    return NetworkModel(network, 2)


def curved() -> NetworkModel:
    with seeded(2, "network"):
        network = MLP(D, 3, hidden=(16,))()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(4)
    return NetworkModel(network, 3)


def candidates(target: NetworkModel, n: int) -> Records:
    """Records in the box, a quarter of them with a label that the target does not give."""
    x = 0.1 + 0.8 * torch.rand(n, D, generator=torch.Generator().manual_seed(3))
    y = target.logits(x).argmax(dim=1)
    y[::4] = (y[::4] + 1) % target.num_classes
    return Records(x, y, torch.arange(n))


def both_sides(records: Records) -> MembershipSets:
    half = len(records) // 2
    return MembershipSets(
        records.take(torch.arange(half)), records.take(torch.arange(half, 2 * half))
    )


@pytest.mark.parametrize(("attack", "tolerance"), [(DESCENT, 0.01), (WALK, 0.05)])
def test_distance_from_a_plane(
    attack: BoundaryDistanceAttack | HopSkipJumpAttack, tolerance: float
) -> None:
    target = halves()
    records = candidates(target, 24)
    oracle = MeteredOracle(target, attack.access)
    scores = attack.fit(oracle, both_sides(records), seed=0).score(records)
    exact = (records.x.sum(dim=1) - D / 2).abs().double() / sqrt(D)
    exact[::4] = 0  # misclassified
    assert (scores >= exact - 1e-5).all()
    torch.testing.assert_close(scores, exact, rtol=tolerance, atol=tolerance / 2)


@pytest.mark.deep
def test_carlini_wagner_equals_plain_code() -> None:
    target = curved()
    records = candidates(target, 8)
    oracle = MeteredOracle(target, "gradient")
    attack = BoundaryDistanceAttack(steps=40, searches=3, learning_rate=0.05)
    scores = attack.fit(oracle, both_sides(records), seed=0).score(records)
    expected = [
        plain.carlini_wagner(target.differentiable_logits, x, int(y), attack)
        for x, y in zip(records.x, records.y, strict=True)
    ]
    assert scores[::4].tolist() == [0, 0]
    torch.testing.assert_close(scores, torch.tensor(expected).double(), rtol=1e-3, atol=1e-4)


def test_hop_skip_jump_equals_the_plain_implementation() -> None:
    target = curved()
    records = candidates(target, 12)
    oracle = MeteredOracle(target, "label")
    scorer = WALK.fit(oracle, both_sides(records), seed=6)
    starts = scorer.measure.__self__.starts  # type: ignore[attr-defined]
    expected = [
        plain.hop_skip_jump(oracle.labels, x, int(y), starts, WALK, 6)
        for x, y in zip(records.x, records.y, strict=True)
    ]
    torch.testing.assert_close(
        scorer.score(records), torch.tensor(expected).double(), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("queries", [1, 100, 300])
def test_hop_skip_jump_keeps_to_its_budget(queries: int) -> None:
    target = curved()
    records = candidates(target, 16)
    oracle = MeteredOracle(target, "label")
    attack = HopSkipJumpAttack(queries=queries, first_samples=30, starts=20)
    scorer = attack.fit(oracle, both_sides(records), seed=0)
    assert oracle.queries == 20 + 16  # random points, and all the records there are
    before = oracle.queries
    scorer.score(records)
    first_search = 1 + 5  # whether it is classified correctly, and 1.5 log2(8) rounded up
    assert oracle.queries - before <= 16 * max(queries, first_search)


def test_more_queries_come_nearer() -> None:
    target = halves()
    records = candidates(target, 16)

    def mean(queries: int) -> float:
        attack = HopSkipJumpAttack(queries=queries, first_samples=30, starts=5)
        oracle = MeteredOracle(target, "label")
        return float(attack.fit(oracle, both_sides(records), seed=0).score(records).mean())

    assert mean(600) < mean(100) < mean(10)


def test_larger_boxes_scale() -> None:
    """Features in [0, 4] with the network's weights divided by 4: distances times 4."""
    small, large = curved(), curved()
    first = next(m for m in large.network.modules() if isinstance(m, nn.Linear))
    with torch.no_grad():
        first.weight /= 4
    records = candidates(small, 8)
    wide = Records(4 * records.x, records.y, records.ids)
    attack = BoundaryDistanceAttack(steps=50, searches=6, learning_rate=0.05)
    of_large = replace(attack, first_c=16 * attack.first_c, high=4.0)
    scores = [
        a.fit(MeteredOracle(t, "gradient"), both_sides(r), seed=0).score(r)
        for a, t, r in (
            (attack, small, records),
            (of_large, large, wide),
        )
    ]
    torch.testing.assert_close(scores[1], 4 * scores[0], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("attack", [replace(DESCENT, steps=20), WALK])
def test_one_label_everywhere_gives_the_diagonal(
    attack: BoundaryDistanceAttack | HopSkipJumpAttack,
) -> None:
    target = halves()
    with torch.no_grad():
        target.network.get_parameter("bias").copy_(torch.tensor([1e4, 0.0]))
    x = torch.rand(4, D, generator=torch.Generator().manual_seed(0))
    records = Records(x, torch.tensor([0, 0, 0, 1]), torch.arange(4))
    scorer = attack.fit(MeteredOracle(target, attack.access), both_sides(records), seed=0)
    assert scorer.score(records).tolist() == [pytest.approx(sqrt(D))] * 3 + [0]


@pytest.mark.parametrize("attack", [DESCENT, WALK])
def test_features_outside_the_box_are_refused(
    attack: BoundaryDistanceAttack | HopSkipJumpAttack,
) -> None:
    records = candidates(halves(), 8)
    x = records.x.clone()
    x[2, 1] = 7.5
    wrong = Records(x, records.y, records.ids)
    oracle = MeteredOracle(halves(), attack.access)
    scorer = attack.fit(oracle, both_sides(records), seed=0)
    with pytest.raises(DataError, match=r"Feature 1 of candidate 2 is 7\.5"):
        scorer.score(wrong)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="low < high"):
        Box(1.0, 1.0)
    with pytest.raises(ConfigError, match="steps"):
        BoundaryDistanceAttack(steps=0)
    with pytest.raises(ConfigError, match="learning_rate"):
        BoundaryDistanceAttack(learning_rate=0)
    with pytest.raises(ConfigError, match="queries"):
        HopSkipJumpAttack(queries=0)


def test_images_are_measured_in_unit_pixels() -> None:
    network = nn.Sequential(nn.Flatten(), halves(12).network)
    target = NetworkModel(network, 2)
    x = torch.full((2, 3, 2, 2), 102, dtype=torch.uint8)  # 0.4 of 255
    records = Records(x, torch.zeros(2, dtype=torch.int64), torch.arange(2))
    scorer = DESCENT.fit(MeteredOracle(target, "gradient"), both_sides(records), seed=0)
    distance: Tensor = scorer.score(records)
    assert distance.tolist() == pytest.approx([0.1 * sqrt(12)] * 2, rel=0.02)
