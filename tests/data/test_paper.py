from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch

from selena.config import override
from selena.data.paper import paper_partition
from selena.data.split import Partition, audit_split
from selena.errors import ConfigError, DataError
from selena.experiments.pipeline import DataSettings, RunSettings, cases
from selena.types import Dataset
from tests.toys import toy_dataset

PARTITIONS: tuple[Literal["default", "paper"], ...] = ("default", "paper")


def dataset(name: str, n: int, pool: int | None = None) -> Dataset:
    in_pool = None if pool is None else torch.arange(n) < pool
    return toy_dataset(torch.zeros(n, 1), name=name, member_pool=in_pool)


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
    assert paper_partition(dataset(name, n)) == Partition(
        members=members, reference=reference, validation=validation
    )
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


def test_setting_decides_the_sizes() -> None:
    toy = dataset("purchase100", 1_000)
    assert DataSettings(partition="paper").sizes(toy) == Partition(
        members=100, reference=150, validation=75
    )
    assert DataSettings(n_members=40).sizes(toy) == Partition.of(1_000, 40)
    assert DataSettings().sizes(toy) == Partition.of(1_000, toy.n_members)
    with pytest.raises(ConfigError, match="members >= 2, not 0"):
        DataSettings(n_members=0).sizes(toy)


def test_run_is_split_by_its_setting(tmp_path: Path) -> None:
    toy = replace(dataset("purchase100", 1_000), recipe="purchase100")
    cases_by_partition = {
        partition: cases(RunSettings(data=DataSettings(partition=partition)), seed=0)[0]
        for partition in PARTITIONS
    }
    paper, default = (cases_by_partition[name] for name in ("paper", "default"))
    assert len(paper.split(toy).train) == 100
    assert len(default.split(toy).train) == toy.n_members
    assert paper.folder(tmp_path, toy).path != default.folder(tmp_path, toy).path
    assert override(DataSettings(), paper.recorded().data) == paper.data


def test_setting_excludes_members() -> None:
    with pytest.raises(ConfigError, match="Leave out n_members"):
        DataSettings(partition="paper", n_members=5)
