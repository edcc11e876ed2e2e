from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from selena.attacks.one_query import OneQueryAttack, Perturbation
from selena.attacks.perturbation import Moves
from selena.auditing.oracle import MeteredOracle
from selena.errors import ConfigError
from selena.networks.mlp import MLP
from selena.training.recipe import Recipe
from tests.attacks.planted import CLASSES, Constant, audit_split

RECIPE = Recipe(epochs=2, batch_size=8, precision="float32")
ATTACK = OneQueryAttack(MLP(20, CLASSES, hidden=(4,)), CLASSES, RECIPE, surrogates=2)


def linear(weight: list[float]) -> nn.Module:
    """A network of two classes that favors class 0 by weight . x."""
    network = nn.Linear(len(weight), 2, bias=False)
    with torch.no_grad():
        network.weight[0], network.weight[1] = torch.tensor(weight), torch.zeros(len(weight))
    return network


def perturbation(weight: list[float], *, steps: int, size: float, bits: bool) -> Perturbation:
    network = [linear(weight)]
    device = torch.device("cpu")
    moves = Moves(steps, torch.tensor(size), bits, not bits, device)
    return Perturbation(network, network, moves)


def test_the_most_harmful_bits_are_flipped_first() -> None:
    perturb = perturbation([4.0, 1.0, -2.0, 0.1], steps=2, size=1.0, bits=True)
    x = torch.tensor([[1, 1, 0, 1]], dtype=torch.uint8)
    changed, p = perturb(x, torch.tensor([0]), 0.5)
    assert changed.tolist() == [[0, 1, 1, 1]]
    assert float(p) == pytest.approx(float(torch.sigmoid(torch.tensor(1.0 + 0.1 - 2.0))), rel=1e-5)
    assert x.tolist() == [[1, 1, 0, 1]]


def test_a_record_is_left_once_judges_lose_its_label() -> None:
    perturb = perturbation([8.0, 0.0], steps=50, size=0.05, bits=False)
    x, y = torch.tensor([[0.9, 0.5], [0.02, 0.5]]), torch.tensor([0, 0])
    changed, p = perturb(x, y, 0.6)
    assert (p <= 0.6).all()
    # p = 0.6 at 8 x = log(0.6 / 0.4): one step of 0.05 below it at most.
    edge = float(torch.tensor(0.6 / 0.4).log()) / 8
    assert edge - 0.05 <= float(changed[0, 0]) <= edge
    assert torch.equal(changed[1], x[1])
    assert float(changed.min()) >= 0
    assert x[0, 0] == pytest.approx(0.9)


def test_one_query_per_scored_record() -> None:
    split, oracle = audit_split("numbers"), MeteredOracle(Constant(), "label")
    scorer = ATTACK.fit(oracle, split.known, seed=0)
    before = oracle.queries
    records = split.evaluation.joined()[0]
    scores = scorer.score(records)
    assert oracle.queries - before == len(records)
    hits = scores > 0  # 1 - p for a label that is kept, -p for another
    assert torch.equal(hits, oracle.labels(records.x) == records.y)
    known = len(scorer.calibration.members) + len(scorer.calibration.non_members)
    assert before == len(ATTACK.thresholds) * known


def test_surrogates_see_no_member_and_nothing_held_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    split, seen = audit_split("numbers"), list[Tensor]()
    train: Callable[..., list[nn.Module]] = OneQueryAttack._train

    def spy(self: OneQueryAttack, others: object, *rest: object) -> list[nn.Module]:
        seen.append(others.ids)  # type: ignore[attr-defined]
        return train(self, others, *rest)

    monkeypatch.setattr(OneQueryAttack, "_train", spy)
    scorer = ATTACK.fit(MeteredOracle(Constant(), "label"), split.known, seed=0)
    learned, held_out = set(seen[0].tolist()), set(scorer.calibration.non_members.ids.tolist())
    assert learned | held_out == set(split.known.non_members.ids.tolist())
    assert not learned & held_out
    assert len(held_out) == round(0.3 * 30)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"surrogates": 0}, "surrogates and steps"),
        ({"size": 0.0}, "size above 0"),
        ({"thresholds": (0.5, 1.0)}, "between 0 and 1"),
        ({"held_out": 0.0}, "share between 0 and 1"),
    ],
)
def test_bad_settings_are_errors(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OneQueryAttack(MLP(20, CLASSES), CLASSES, RECIPE, **settings)  # type: ignore[arg-type]
