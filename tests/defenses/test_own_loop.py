"""A defense with a training loop of its own is resumable through `OwnLoop` alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from selena.defenses.single import SingleNetwork
from selena.seeding import torch_generator
from selena.training.batches import as_input, shuffled_batches
from selena.training.losses import per_example_loss
from selena.training.model import NetworkModel
from selena.training.network_state import NetworkState
from selena.training.own_loop import OwnLoop
from selena.types import Records
from selena.workspace import Workspace
from tests.toys import CLASSES, NETWORK, RECIPE, toy_records

TRAIN, VALIDATION = toy_records(48), toy_records(24, seed=7, start=1000)


@dataclass(frozen=True)
class Mine(SingleNetwork):
    """The example of `OwnLoop`'s docstring.

    Attributes:
        smoothing: a setting, which changes the loss a little.
    """

    smoothing: float = 0.0

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> NetworkModel:
        workspace = workspace or Workspace()
        loop = OwnLoop(self, "mine", train, validation, seed=seed, workspace=workspace)
        x, y = train.x.to(loop.device), train.y.to(loop.device)

        def train_epoch(epoch: int) -> None:
            loop.network.train()
            generator = torch_generator(seed, "batches", epoch)
            batches = shuffled_batches(loop.rows, self.recipe.batch_size, generator)
            for step, rows in enumerate(batches):
                logits = (1 - self.smoothing) * loop.network(as_input(x[rows]))
                per_example_loss(logits, y[rows], "cross_entropy").mean().backward()
                loop.step(self.recipe.rate_at(epoch, step, len(batches)))

        return NetworkModel(loop.run(train_epoch), self.num_classes, workspace.device)


MINE = Mine(NETWORK, CLASSES, replace(RECIPE, epochs=4))


def weights(mine: Mine, workspace: Workspace) -> torch.Tensor:
    state = mine.fit(TRAIN, VALIDATION, seed=3, workspace=workspace).state()
    return torch.cat([tensor.flatten() for tensor in state.values()])


def test_a_killed_loop_resumes_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = weights(MINE, Workspace())
    workspace = Workspace(folder=tmp_path, checkpoint_seconds=0)
    end_epoch, trained = NetworkState.end_epoch, []

    def counted(state: NetworkState, accuracy: float | None) -> None:
        end_epoch(state, accuracy)
        trained.append(state.epochs_done)
        if trained == [1, 2]:
            raise KeyboardInterrupt

    monkeypatch.setattr(NetworkState, "end_epoch", counted)
    with pytest.raises(KeyboardInterrupt):
        weights(MINE, workspace)
    assert torch.equal(weights(MINE, workspace), expected)
    assert trained == [1, 2, 3, 4]
    assert torch.equal(weights(MINE, workspace), expected)
    assert trained == [1, 2, 3, 4]  # found finished


def test_other_settings_find_another_network(tmp_path: Path) -> None:
    workspace = Workspace(folder=tmp_path)
    first = weights(MINE, workspace)
    other = replace(MINE, smoothing=0.5)
    found = weights(other, workspace)
    assert torch.equal(found, weights(other, Workspace()))
    assert not torch.equal(found, first)


def test_only_later_epochs_are_selected(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the last epoch as the first choice, selection changes nothing."""
    last = weights(MINE, Workspace())
    selecting = replace(MINE, recipe=replace(MINE.recipe, selection="validation"))
    run = OwnLoop.run
    monkeypatch.setattr(OwnLoop, "run", lambda loop, epoch: run(loop, epoch, first_choice=3))
    assert torch.equal(weights(selecting, Workspace()), last)
