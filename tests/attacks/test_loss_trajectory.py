from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from selena.attacks import lt_iqr_scores
from selena.defenses import Undefended
from selena.errors import ConfigError, DataError
from selena.training.loss_trace import LossTrace
from selena.workspace import Workspace
from tests.toys import CLASSES, NETWORK, RECIPE, toy_records


def test_lt_iqr_ranks_memorized_records_first() -> None:
    epochs = np.linspace(0, 1, 40)[:, None]
    easy, memorized, never = 0.1 * np.exp(-9 * epochs), 4 * (1 - epochs), 4 + 0 * epochs
    scores = lt_iqr_scores(np.hstack([easy, memorized, never]))
    assert scores.argmax() == 1
    assert scores[1] == pytest.approx(2.0)
    assert scores[2] == 0


def test_lt_iqr_takes_tensors_and_quantiles() -> None:
    losses = torch.arange(5.0)[:, None]
    assert lt_iqr_scores(losses) == pytest.approx([2.0])
    assert lt_iqr_scores(losses, low=0, high=1) == pytest.approx([4.0])


@pytest.mark.parametrize("losses", [np.ones(7), np.ones((3, 7)), np.ones((9, 0))])
def test_a_finished_model_has_no_trace(losses: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"epochs x n.*finished model"):
        lt_iqr_scores(losses)


def test_infinite_losses_and_quantiles_are_errors() -> None:
    losses = np.ones((5, 3))
    losses[2, 1] = np.inf
    with pytest.raises(DataError, match="the first is record 1"):
        lt_iqr_scores(losses)
    with pytest.raises(ConfigError, match="low < high"):
        lt_iqr_scores(np.ones((5, 3)), low=0.5, high=0.5)


def test_the_engine_tells_the_losses() -> None:
    train, validation = toy_records(40), toy_records(8, seed=1)
    defense = Undefended(NETWORK, CLASSES, RECIPE)
    model, trace = defense.fit_with_trace(train, validation, seed=3)
    assert trace.losses.shape == (RECIPE.epochs, 40)
    last = torch.nn.functional.cross_entropy(model.logits(train.x), train.y, reduction="none")
    np.testing.assert_allclose(trace.losses[-1], last.numpy(), rtol=1e-4, atol=1e-6)
    plain = defense.fit(train, validation, seed=3)
    torch.testing.assert_close(plain.logits(train.x), model.logits(train.x), rtol=0, atol=0)


def test_own_loops_add_their_logits() -> None:
    records = toy_records(6)
    trace = LossTrace(records)
    for sure in (0.0, 2.0):
        trace.add(sure * torch.nn.functional.one_hot(records.y, CLASSES))
    assert trace.losses[0] == pytest.approx(np.log(CLASSES))
    assert (trace.losses[1] < trace.losses[0]).all()
    with pytest.raises(DataError, match="one row for each"):
        trace.add(np.zeros((5, CLASSES)))


def test_an_empty_trace_says_why(tmp_path: Path) -> None:
    train, workspace = toy_records(16), Workspace(folder=tmp_path)
    defense = Undefended(NETWORK, CLASSES, RECIPE)
    defense.fit(train, train, seed=0, workspace=workspace)
    _, trace = defense.fit_with_trace(train, train, seed=0, workspace=workspace)
    with pytest.raises(DataError, match="already finished"):
        trace.losses  # noqa: B018
