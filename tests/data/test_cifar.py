"""CIFAR from small archives in the published layout, whole and damaged."""

from __future__ import annotations

import gzip
import io
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import cifar10_subset, cifar100_archive
from selena.data import cifar
from selena.data.load import load
from selena.data.split import audit_split
from selena.errors import DataError
from tests.data.cifar_archives import (
    Files,
    cifar10_files,
    cifar100_files,
    pack,
)
from tests.data.test_pickles import Malicious

BATCH_1 = "cifar-10-batches-py/data_batch_1"


def images(files: Files, *names: str) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([files[name]["data"] for name in names]))


def test_cifar10_in_the_published_layout(tmp_path: Path) -> None:
    files = cifar10_files()
    dataset = cifar.read(pack(tmp_path / "small.tar.gz", files))
    records = dataset.records
    assert (tuple(records.x.shape), records.x.dtype) == ((70, 3, 32, 32), torch.uint8)
    # Batches in their numbers' order, whatever the archive's; the test images last.
    expected = images(files, *cifar.CIFAR10.train, cifar.CIFAR10.test)
    assert torch.equal(records.x.flatten(1), expected)
    assert records.y.tolist() == [*range(10)] * 7
    assert records.ids.tolist() == list(range(70))
    assert dataset.member_pool is not None
    assert dataset.member_pool.tolist() == [True] * 50 + [False] * 20
    assert (dataset.name, dataset.recipe, dataset.n_members) == ("small.tar.gz", "cifar10", 50)
    assert (dataset.features, dataset.num_classes) == ("image", 10)


def test_channels_come_first_and_rows_before_columns(tmp_path: Path) -> None:
    files = cifar10_files()
    files[BATCH_1]["data"][0] = 0
    files[BATCH_1]["data"][0, 2 * 1024 + 5 * 32 + 7] = 200  # blue, row 5, column 7
    x = cifar.read(pack(tmp_path / "small.tar.gz", files)).records.x
    assert torch.nonzero(x[0]).tolist() == [[2, 5, 7]]


def test_cifar100_takes_fine_labels(tmp_path: Path) -> None:
    files = cifar100_files()
    dataset = cifar.read(pack(tmp_path / "small.tar.gz", files))
    expected = images(files, "cifar-100-python/train", "cifar-100-python/test")
    assert torch.equal(dataset.records.x.flatten(1), expected)
    assert dataset.records.y.tolist() == [*range(100), *range(100), *range(60)]
    assert (dataset.num_classes, dataset.recipe, dataset.n_members) == (100, "cifar100", 200)


@pytest.mark.parametrize(
    ("form", "files"), [(cifar.CIFAR10, cifar10_files()), (cifar.CIFAR100, cifar100_files())]
)
def test_registered_name_takes_published_archive_only(
    form: cifar.Cifar, files: Files, tmp_path: Path
) -> None:
    path = pack(tmp_path / form.archive, files)
    with pytest.raises(DataError, match="truncated, changed or another one"):
        load(form.name, data_dir=tmp_path)
    published = replace(form, md5=md5(path.read_bytes()).hexdigest())
    assert published.load(data_dir=tmp_path).name == form.name


def test_same_images_in_another_archive(tmp_path: Path) -> None:
    files = cifar100_files()
    first = cifar.read(pack(tmp_path / "first.tar.gz", files))
    known = replace(cifar.CIFAR100, content=cifar.content_digest(first))
    train = files["cifar-100-python/train"]
    train["data"], train["fine_labels"] = train["data"][::-1].copy(), train["fine_labels"][::-1]
    path = pack(tmp_path / known.archive, files)
    dataset = known.load(data_dir=tmp_path)
    assert (dataset.name, int(dataset.records.y[0])) == ("cifar100", 99)
    for change in ("label", "pixel", "side", "file"):
        other = {name: dict(values) for name, values in files.items()}
        train, test = other["cifar-100-python/train"], other["cifar-100-python/test"]
        if change == "label":
            train["fine_labels"] = [0, *train["fine_labels"][1:]]
        elif change == "pixel":
            train["data"] = train["data"] ^ np.eye(*train["data"].shape, dtype=np.uint8)
        elif change == "side":
            for key in ("data", "fine_labels"):
                both = [*train[key], *test[key]]
                test[key], train[key] = both[:60], both[60:]
            train["data"], test["data"] = np.stack(train["data"]), np.stack(test["data"])
        else:
            del other["cifar-100-python/test"]
        pack(path, other)
        with pytest.raises(DataError, match="truncated, changed or another one"):
            known.load(data_dir=tmp_path)


def test_archive_by_path_is_a_users_own(tmp_path: Path) -> None:
    path = pack(tmp_path / "own.tar.gz", cifar10_files())
    assert load(path).name == load(str(path)).name == "own.tar.gz"


def test_members_are_training_images(tmp_path: Path) -> None:
    dataset = cifar.read(pack(tmp_path / "small.tar.gz", cifar10_files()))
    everything = audit_split(dataset, seed=0)
    assert sorted(everything.train.ids.tolist()) == list(range(50))
    assert int(everything.evaluation.non_members.ids.min()) >= 50
    some = audit_split(dataset, n_members=30, seed=0)
    assert int(some.train.ids.max()) < 50


# What can be wrong in an archive, and what is said of it.


def missing(files: Files) -> None:
    del files["cifar-10-batches-py/data_batch_3"]


def changed(key: str, value: Callable[[Any], object]) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        files[BATCH_1][key] = value(files[BATCH_1][key])

    return change


def replaced(content: object) -> Callable[[Files], None]:
    return lambda files: files.update({BATCH_1: content})


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (missing, r"holds no file 'cifar-10-batches-py/data_batch_3'"),
        (changed("labels", lambda y: y[:-1]), r"data_batch_1: 10 images, but 'labels' holds 9"),
        (changed("labels", lambda y: [*y, 3]), r"data_batch_1: 10 images, but 'labels' holds 11"),
        (changed("labels", tuple), r"data_batch_1: 10 images, .* holds tuple"),
        (changed("labels", lambda y: [*y[:-1], 10]), r"data_batch_1, image 9: the label is 10 "),
        (changed("labels", lambda y: [-1, *y[1:]]), r"data_batch_1, image 0: the label is -1 "),
        (changed("labels", lambda y: [True, *y[1:]]), r"image 0: the label is True"),
        (changed("labels", lambda y: [*y[:-1], [0]]), r"image 9: the label is a list"),
        (changed("data", lambda x: x[:, :-1]), r"data_batch_1: 'data' must .* is \(10, 3071\)"),
        (changed("data", lambda x: x.reshape(10, 3, 32, 32)), r"is \(10, 3, 32, 32\)"),
        (
            changed("data", lambda x: x.astype(np.float32)),
            r"data_batch_1: .* type 'f4'",
        ),
        (changed("data", lambda x: x.tobytes()), r"'data' must be an array of bytes, .* is str"),
        (replaced({"data": 1}), r"data_batch_1: the pickle holds no 'data' and 'labels'"),
        (replaced([1, 2]), r"data_batch_1: the pickle holds no 'data' and 'labels'"),
        (replaced(b""), r"data_batch_1: this is no pickle"),
        (replaced(b"not a pickle"), r"data_batch_1: this is no pickle"),
        (
            replaced(pickle.dumps(Malicious(os.system, "true"), 2)),
            r"small\.tar\.gz:cifar-10-batches-py/data_batch_1: the pickle calls for posix\.system",
        ),
    ],
)
def test_what_is_wrong_is_named(
    damage: Callable[[Files], None], complaint: str, tmp_path: Path
) -> None:
    files = cifar10_files()
    damage(files)
    with pytest.raises(DataError, match=complaint):
        cifar.read(pack(tmp_path / "small.tar.gz", files))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-4],
        lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
        lambda content: gzip.compress(b"no tar" * 1000),
    ],
    ids=["half", "checksum cut", "flipped bit", "no tar"],
)
def test_damaged_archive(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = pack(tmp_path / "small.tar.gz", cifar10_files())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="truncated or corrupted"):
        cifar.read(path)


def test_archive_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must have the form of CIFAR-10 or CIFAR-100"):
        load(pack(tmp_path / "other.tar.gz", {"feats": b"1,0"}))


def test_real_images(shared: Callable[[str], Path], tmp_path: Path) -> None:
    source = shared("data/cifar10_jpeg.npz")
    train, test = (cifar10_subset.decode(source, part, 250, seed=0) for part in ("train", "test"))
    dataset = load(cifar10_subset.write_archive(tmp_path, train, test, ["airplane", "..."]))
    assert dataset.records.y.tolist() == [*train[1], *test[1]]
    assert torch.bincount(dataset.records.y, minlength=10).min() > 25
    x = dataset.records.x.float() / 255
    assert tuple(x.shape) == (500, 3, 32, 32)
    # In photographs neighboring pixels resemble each other more than those of two images do.
    strangers = float((x[:250] - x[250:]).abs().mean())
    for axis in (2, 3):
        assert float(x.diff(dim=axis).abs().mean()) < strangers / 3
    assert x.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0.491, 0.482, 0.447], abs=0.03)


def webp_images(source: Path, rows: list[int]) -> tuple[list[np.ndarray], list[int]]:
    with np.load(source) as arrays:
        starts = [0, *arrays["lengths"].cumsum()]
        files = [bytes(arrays["webp"][starts[row] : starts[row + 1]]) for row in rows]
        labels = [int(arrays["labels"][row]) for row in rows]
    return [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files], labels


def test_lossless_images_come_back(shared: Callable[[str], Path], tmp_path: Path) -> None:
    source = shared("data/cifar100/test.npz").parent
    records = cifar.read(cifar100_archive.convert(source, tmp_path, most=20)).records
    assert tuple(records.x.shape) == (100, 3, 32, 32)
    for first, name in ((0, "train_0"), (60, "train_3"), (80, "test")):
        images, labels = webp_images(source / f"{name}.npz", [0, 7, 19])
        for row, image, label in zip((0, 7, 19), images, labels, strict=True):
            assert np.array_equal(records.x[first + row].permute(1, 2, 0).numpy(), image)
            assert records.y[first + row] == label


@pytest.mark.deep
def test_all_of_cifar100(shared: Callable[[str], Path], tmp_path: Path) -> None:
    source = shared("data/cifar100/test.npz").parent
    cifar100_archive.convert(source, tmp_path)
    dataset = load("cifar100", data_dir=tmp_path)  # every pixel and label, by the digest
    records, classes = dataset.records, np.load(source / "test.npz")["classes"].tolist()
    assert (len(records), dataset.n_members, dataset.name) == (60_000, 50_000, "cifar100")
    assert records.y[:50_000].bincount().tolist() == [500] * 100
    assert records.y[50_000:].bincount().tolist() == [100] * 100
    x = records.x[:50_000].double() / 255
    # As published everywhere, of the training images.
    assert x.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0.5071, 0.4865, 0.4409], abs=5e-5)
    assert classes == sorted(classes)
    redder = (x[:, 0] - x[:, 2]).mean(dim=(1, 2))
    for name, sign in (("orange", 1), ("sunflower", 1), ("sea", -1), ("cloud", -1)):
        assert sign * redder[records.y[:50_000] == classes.index(name)].mean() > 0.05
