from __future__ import annotations

import pytest
import torch

from selena.data.paper import paper_partition
from selena.data.split import Partition, audit_split
from selena.errors import ConfigError, DataError
from selena.pipeline import Case, DataSettings
from selena.types import Dataset, Records


def dataset(name: str, n: int, pool: int | None = None) -> Dataset:
    records = Records(torch.zeros(n, 1), torch.zeros(n, dtype=torch.int64), torch.arange(n))
    in_pool = None if pool is None else torch.arange(n) < pool
    return Dataset(name, records, 1, "continuous", "tabular", 2, "made up", member_pool=in_pool)


@pytest.mark.parametrize(
    ("name", "n", "members", "reference", "validation", "test"),
    [
        ("purchase100", 197_324, 19_732, 29_598, 5_000, 142_994),
        ("purchase100-synthetic", 197_324, 19_732, 29_598, 5_000, 142_994),
        ("texas100", 67_330, 10_000, 20_199, 3_713, 33_418),
        ("texas100-synthetic", 67_330, 10_000, 20_199, 3_713, 33_418),
        ("cifar100", 60_000, 50_000, 5_000, 500, 4_500),
    ],
)
def test_sizes(name: str, n: int, members: int, reference: int, validation: int, test: int) -> None:
    assert paper_partition(dataset(name, n)) == Partition(members, reference, validation)
    assert members + reference + validation + test == n


def test_every_training_image_of_cifar100_is_a_member() -> None:
    images = dataset("cifar100", 60_000, pool=50_000)
    split = audit_split(images, partition=paper_partition(images), seed=0)
    assert int(split.train.ids.max()) == 49_999
    assert len(split.known.members) == len(split.evaluation.members) == 25_000
    assert len(split.evaluation.non_members) == 4_500


def test_other_sets_have_none() -> None:
    with pytest.raises(ConfigError, match=r"no partition of digits, only of purchase100, texas"):
        paper_partition(dataset("digits", 100))


def test_shortened_set_that_does_not_hold_it() -> None:
    short = dataset("texas100-synthetic", 12_000)
    with pytest.raises(DataError, match="10,000 members do not fit"):
        audit_split(short, partition=paper_partition(short), seed=0)


def test_setting_decides_the_split() -> None:
    toy = dataset("purchase100", 1_000)
    split = Case(DataSettings(partition="paper"), "undefended", 0, "last", {}).split(toy)
    assert len(split.train) == 100
    assert len(split.known.non_members) == 150
    by_default = Case(DataSettings(members=40), "undefended", 0, "last", {}).split(toy)
    assert len(by_default.train) == 40


def test_setting_excludes_members() -> None:
    with pytest.raises(ConfigError, match="Leave --members out"):
        DataSettings(partition="paper", members=5)
