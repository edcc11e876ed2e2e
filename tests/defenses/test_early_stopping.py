"""Early stopping: each epoch of one undefended run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from selena.defenses.early_stopping import EarlyStopping
from selena.defenses.undefended import Undefended
from selena.errors import ConfigError, StoreError
from selena.experiments.paper.epochs import every_epoch
from selena.training.network_state import NetworkState
from selena.workspace import Workspace
from tests.toys import CLASSES, NETWORK, RECIPE, toy_records

TRAIN, VALIDATION = toy_records(90), toy_records(40, seed=7, start=1000)
UNDEFENDED = Undefended(NETWORK, CLASSES, RECIPE)
STOPPING = EarlyStopping(NETWORK, CLASSES, RECIPE)


def test_the_last_epoch_is_the_undefended_model() -> None:
    stopped = replace(STOPPING, epoch=RECIPE.epochs).fit(TRAIN, VALIDATION, seed=1)
    plain = UNDEFENDED.fit(TRAIN, VALIDATION, seed=1)
    assert torch.equal(stopped.logits(TRAIN.x), plain.logits(TRAIN.x))


@pytest.mark.parametrize("keeps", [True, False], ids=["folder", "memory"])
def test_every_epoch_equals_stopping_there(tmp_path: Path, keeps: bool) -> None:
    workspace = Workspace(folder=tmp_path if keeps else None)
    models = dict(every_epoch(UNDEFENDED, TRAIN, VALIDATION, seed=1, workspace=workspace))
    assert list(models) == [1, 2, 3]
    for epoch, model in models.items():
        stopped = replace(STOPPING, epoch=epoch).fit(TRAIN, VALIDATION, seed=1)
        # Weights in float16.
        torch.testing.assert_close(
            model.logits(TRAIN.x), stopped.logits(TRAIN.x), rtol=0, atol=0.02
        )


def test_it_takes_the_epoch_that_is_best_on_validation() -> None:
    models = dict(every_epoch(UNDEFENDED, TRAIN, VALIDATION, seed=3))
    right = {
        epoch: int((model.logits(VALIDATION.x).argmax(dim=1) == VALIDATION.y).sum())
        for epoch, model in models.items()
    }
    best = max(right, key=lambda epoch: (right[epoch], -epoch))
    chosen = STOPPING.fit(TRAIN, VALIDATION, seed=3)
    expected = replace(STOPPING, epoch=best).fit(TRAIN, VALIDATION, seed=3)
    assert torch.equal(chosen.logits(TRAIN.x), expected.logits(TRAIN.x))


def test_killed_it_goes_on_and_no_epoch_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(folder=tmp_path, checkpoint_seconds=0)
    end_epoch = NetworkState.end_epoch

    def die(self: NetworkState, accuracy: float | None) -> None:
        if self.epochs_done == 1:  # the second epoch is told, its checkpoint not written
            raise KeyboardInterrupt
        end_epoch(self, accuracy)

    with monkeypatch.context() as patch:
        patch.setattr(NetworkState, "end_epoch", die)
        with pytest.raises(KeyboardInterrupt):
            list(every_epoch(UNDEFENDED, TRAIN, VALIDATION, seed=1, workspace=workspace))
    undisturbed = dict(every_epoch(UNDEFENDED, TRAIN, VALIDATION, seed=1))
    for _ in range(2):  # resumed, then found finished
        models = every_epoch(UNDEFENDED, TRAIN, VALIDATION, seed=1, workspace=workspace)
        for epoch, model in models:
            assert torch.equal(model.logits(TRAIN.x), undisturbed[epoch].logits(TRAIN.x))
    (gone,) = tmp_path.glob("epoch-2-*")
    gone.unlink()
    with pytest.raises(StoreError, match="lacks epoch 2"):
        list(every_epoch(UNDEFENDED, TRAIN, VALIDATION, seed=1, workspace=workspace))


@pytest.mark.parametrize("epoch", [0, 4])
def test_an_epoch_that_is_not_there_is_refused(epoch: int) -> None:
    with pytest.raises(ConfigError, match="epochs 1 to 3"):
        replace(STOPPING, epoch=epoch)
