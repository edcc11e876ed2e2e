from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from selena.attacks.yoqo import Surrogates, YOQOAttack, YOQOScorer
from selena.auditing.oracle import MeteredOracle
from selena.errors import ConfigError, DataError
from selena.networks.mlp import MLP
from selena.training.recipe import Recipe
from selena.workspace import Workspace
from tests.attacks.planted import CLASSES, Constant, audit_split

RECIPE = Recipe(epochs=60, batch_size=8, learning_rate=0.01, precision="float32")
ATTACK = YOQOAttack(MLP(20, CLASSES, hidden=(32,)), CLASSES, RECIPE, runs=4)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Where surrogates are kept, so that these tests train them once."""
    return Workspace(folder=tmp_path_factory.mktemp("yoqo"))


def fitted(oracle: MeteredOracle, workspace: Workspace) -> YOQOScorer:
    split = audit_split("numbers")
    known = replace(split.known, candidates=split.evaluation.joined()[0])
    return ATTACK.fit(oracle, known, seed=0, workspace=workspace)


def sure(favored: int) -> nn.Module:
    """A network of three classes that always answers with one of them."""
    network = nn.Linear(2, 3)
    with torch.no_grad():
        network.weight.zero_()
        network.bias.copy_(20.0 * nn.functional.one_hot(torch.tensor(favored), 3))
    return network


def test_loss_wants_the_label_of_those_that_saw() -> None:
    surrogates = Surrogates([sure(0), sure(1)], alpha=3.0)
    x, y, other = torch.zeros(2, 2), torch.tensor([0, 0]), torch.tensor([1, 1])
    saw = torch.tensor([[True, False], [False, True]])
    right, wrong = surrogates.loss(x, y, other, saw).tolist()
    assert right == pytest.approx(0, abs=1e-6)  # the first saw it and says 0, the other says 1
    assert wrong == pytest.approx((3 * 20 + 20) / 2, rel=1e-6)
    assert surrogates.probabilities(x, saw).argmax(dim=1).tolist() == [0, 1]


def test_each_record_is_asked_about_once(workspace: Workspace) -> None:
    oracle = MeteredOracle(Constant(), "label")
    scorer = fitted(oracle, workspace)
    assert oracle.queries == 0
    records = audit_split("numbers").evaluation.joined()[0]
    scores = scorer.score(records)
    assert oracle.queries == len(records)
    # The constant target answers with class 0: above 0 for a label that is kept, below for others.
    assert torch.equal(scores > 0, records.y == 0)


def test_copies_lower_the_loss(workspace: Workspace) -> None:
    scorer = fitted(MeteredOracle(Constant(), "label"), workspace)
    records = audit_split("numbers").evaluation.joined()[0]
    still = replace(scorer, moves=replace(scorer.moves, steps=0))
    kept = records.y == 0
    before, after = (each.score(records)[kept].mean() for each in (still, scorer))
    assert after > before  # fewer of those that did not see a record keep its label


def test_strangers_and_bad_settings_are_refused(workspace: Workspace) -> None:
    scorer = fitted(MeteredOracle(Constant(), "label"), workspace)
    stranger = audit_split("numbers", 40).evaluation.joined()[0]
    with pytest.raises(DataError, match="not among the candidates"):
        scorer.score(stranger)
    with pytest.raises(ConfigError, match="even number"):
        replace(ATTACK, runs=5)
    with pytest.raises(ConfigError, match="alpha above 0"):
        replace(ATTACK, alpha=0.0)
