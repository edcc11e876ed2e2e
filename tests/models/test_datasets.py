"""Data sets and loaders of PyTorch as records, and models with several inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import selena
from selena.content.digests import digests
from selena.content.non_models import draw_non_models
from selena.errors import DataError
from selena.models.datasets import read_dataset

pytestmark = pytest.mark.filterwarnings("ignore::selena.errors.AuditWarning")


class Named(Dataset[Any]):
    """Dictionaries, as a tokenizer gives them."""

    def __init__(self, start: int) -> None:
        draws = np.random.default_rng(start)
        self.ids = draws.integers(0, 20, (40, 5))
        self.labels = draws.integers(0, 2, 40)

    def __len__(self) -> int:
        return 40

    def __getitem__(self, row: int) -> dict[str, Any]:
        ids = self.ids[row].tolist()
        return {"input_ids": ids, "attention_mask": [1] * 5, "labels": self.labels[row]}


class Answer(dict[str, Tensor]):
    """Looks like what transformers return."""


class Reads(nn.Module):
    """Takes named inputs and answers with logits among other things."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Answer:
        assert input_ids.dtype == torch.int64
        words = self.embedding(input_ids) * attention_mask[..., None]
        return Answer(loss=torch.zeros(()), logits=words.mean(dim=1))


def test_dictionaries_reach_a_network_by_name() -> None:
    model = Reads().eval()
    report = selena.audit(model, Named(0), Named(1), attacks=["confidence"])
    named, labels = read_dataset(Named(0), "members")
    assert set(named) == {"input_ids", "attention_mask"}
    again = selena.audit(model, (named, labels), Named(1), attacks=["confidence"])
    assert again == report
    with pytest.raises(selena.ConfigError, match="several inputs"):
        selena.audit(model, Named(0), Named(1), attacks=["gaussian_noise"])


@pytest.mark.parametrize("loaded", [False, True])
def test_pairs_are_read_once_and_in_order(loaded: bool) -> None:
    x, y = torch.arange(20.0)[:, None], torch.arange(20) % 2
    data: Any = TensorDataset(x, y)
    given = DataLoader(data, batch_size=7) if loaded else data
    read_x, read_y = read_dataset(given, "members")
    assert torch.equal(read_x, x)
    assert torch.equal(read_y, y)


def test_a_loader_is_audited_as_its_arrays() -> None:
    draws = torch.Generator().manual_seed(0)
    x, y = torch.randn(80, 3, generator=draws), torch.arange(80) % 2
    sides = [TensorDataset(x[:40], y[:40]), TensorDataset(x[40:], y[40:])]
    network = nn.Linear(3, 2)
    loaded = selena.audit(
        network, *(DataLoader(side, batch_size=9) for side in sides), attacks=["confidence"]
    )
    assert loaded == selena.audit(
        network, (x[:40], y[:40]), (x[40:], y[40:]), attacks=["confidence"]
    )


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(())


class Unlabelled(Named):
    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"input_ids": self.ids[row]}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Endless(), "cannot be counted"),
        (DataLoader(Endless()), "there are no records"),
        (Unlabelled(0), "have input_ids, and no labels"),
        (TensorDataset(torch.zeros(3, 1)), r"must be \(x, y\)"),
    ],
)
def test_data_sets_that_say_too_little(given: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_dataset(given, "members")


def test_inputs_of_different_lengths_are_refused() -> None:
    x = {"a": np.zeros((3, 1)), "b": np.zeros((2, 1))}
    with pytest.raises(DataError, match=r"different numbers of records: \{'a': 3, 'b': 2\}"):
        selena.audit(lambda given: given, (x, [0] * 3), (x, [0] * 3))


def test_several_inputs_are_told_apart_by_all() -> None:
    x = {"a": np.array([[1, 2], [1, 2], [3, 4]]), "b": torch.tensor([[5.0], [6.0], [5.0]])}
    assert len(set(digests(x))) == 3
    assert digests(x) == digests(dict(reversed(x.items())))
    draws = draw_non_models(x, n_submodels=25, n_nonmodels=10, key=b"key")
    assert len(np.unique(draws, axis=0)) == 3
