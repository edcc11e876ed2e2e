from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from selena.data import DATASETS, audit_split, data_digest, load
from selena.data.checks import check_records
from selena.errors import ConfigError, DataError


@pytest.mark.parametrize(("name", "size"), [("digits", None), ("purchase100-synthetic", 4_000)])
def test_sets_without_download_can_be_split(name: str, size: int | None) -> None:
    dataset = load(name, size=size)
    assert dataset.name == name
    check_records(dataset.records, num_classes=dataset.num_classes, what=name)
    assert len(audit_split(dataset, seed=0).train) == dataset.n_members


def test_a_folder_of_archives_may_be_a_string(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset_location.tgz"):
        load("location30", data_dir=str(tmp_path))


def test_digits_are_scaled() -> None:
    dataset = load("digits")
    assert tuple(dataset.records.x.shape) == (1_797, 64)
    assert dataset.records.x.dtype == torch.float32
    assert [float(v) for v in dataset.records.x.aminmax()] == [0, 1]
    assert (dataset.num_classes, dataset.recipe, dataset.n_members) == (10, "digits", 600)


@pytest.mark.parametrize("as_path", [str, Path])
def test_path_of_a_users_file(as_path: type, tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("a,kind\n1,x\n2,y\n")
    assert load(as_path(path), label_column="kind").name == "own.csv"


def test_unknown_name_points_to_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'location30'") as caught:
        load("location3")
    assert all(name in str(caught.value) for name in DATASETS)


@pytest.mark.parametrize("name", ["none.csv", "folder/own", Path("own")])
def test_absent_file_is_no_unknown_name(name: str | Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        load(name)


def test_size_is_for_synthetic_sets() -> None:
    with pytest.raises(ConfigError, match=r"digits .*purchase100-synthetic"):
        load("digits", size=100)


@pytest.mark.parametrize("name", ["digits", "folder", "own.tar.gz"])
def test_a_subject_column_is_for_tables_with_columns(name: str) -> None:
    with pytest.raises(
        ConfigError, match=r"no column 'who': subject_column is for files of \.csv, "
    ):
        load(name, subject_column="who")


def test_digest_sees_features_labels_shapes_and_types() -> None:
    records = load("digits").records
    other_x = records.x.clone()
    other_x[3, 4] += 0.5
    changed = [
        replace(records, x=other_x),
        replace(records, y=records.y.flip(0)),
        replace(records, subjects=records.ids),
        replace(records, x=records.x.reshape(-1, 8, 8)),
        replace(records, x=records.x.view(torch.int32)),
    ]
    digests = {data_digest(r) for r in [records, *changed]}
    assert len(digests) == 6
    assert data_digest(replace(records, ids=records.ids + 1)) == data_digest(records)
    assert data_digest(load("digits").records) == data_digest(records)
