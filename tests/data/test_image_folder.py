"""A user's own images, and what can be wrong with them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from selena.data.load import load
from selena.data.split import audit_split
from selena.errors import DataError

RNG = np.random.default_rng(0)
SHAPE = (6, 8, 3)  # 8 wide, 6 high


def save(path: Path, pixels: np.ndarray | None = None) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, SHAPE, dtype=np.uint8) if pixels is None else pixels
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images of two classes in train/, four in test/."""
    root = tmp_path / "pets"
    for part, count in (("train", 3), ("test", 2)):
        for kind in ("dog", "cat"):
            for number in range(count):
                save(root / part / kind / f"{number}.png")
    return root


def test_images_in_the_order_of_classes_and_names(folder: Path) -> None:
    pixels = save(folder / "train" / "dog" / "0.png")
    (folder / "train" / ".DS_Store").write_bytes(b"")
    (folder / "train" / "dog" / ".hidden").write_bytes(b"")
    dataset = load(folder)
    x = dataset.records.x
    assert (tuple(x.shape), x.dtype) == ((10, 3, 6, 8), torch.uint8)
    assert dataset.records.y.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 1, 1]  # cat, dog; train, test
    assert np.array_equal(x[3].permute(1, 2, 0).numpy(), pixels)
    assert (dataset.name, dataset.features, dataset.recipe) == ("pets", "image", "image_folder")


def test_members_are_the_images_in_train(folder: Path) -> None:
    dataset = load(str(folder))
    assert (dataset.n_members, dataset.num_classes) == (6, 2)
    assert sorted(audit_split(dataset, seed=0).train.ids.tolist()) == list(range(6))


def test_without_test_half_of_the_images_are_members(folder: Path) -> None:
    for path in (folder / "test").rglob("*.png"):
        path.unlink()
    for path in (folder / "test" / "dog", folder / "test" / "cat", folder / "test"):
        path.rmdir()
    dataset = load(folder)
    assert (dataset.n_members, dataset.member_pool) == (3, None)


def test_jpeg_and_gray_become_rgb(folder: Path) -> None:
    save(folder / "train" / "cat" / "8.jpg", np.full(SHAPE, 100, dtype=np.uint8))
    save(folder / "train" / "cat" / "9.png", np.full(SHAPE[:2], 50, dtype=np.uint8))
    x = load(folder).records.x
    assert abs(x[3].float() - 100).max() <= 1
    assert (x[4] == 50).all()


def damaged(content: bytes) -> Callable[[Path], object]:
    return lambda root: (root / "train" / "dog" / "1.png").write_bytes(content)


def truncated(root: Path) -> None:
    path = root / "train" / "dog" / "1.png"
    path.write_bytes(path.read_bytes()[:-30])


def empty_class(root: Path) -> None:
    (root / "train" / "eel").mkdir()


def only_one_class(root: Path) -> None:
    (root / "train" / "dog").rename(root / "dog")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (damaged(b"GIF89a"), r"train/dog/1\.png: this is no PNG or JPEG image"),
        (damaged(b"\x89PNG\r\n\x1a\n broken"), r"train/dog/1\.png: this is no PNG or JPEG image"),
        (truncated, r"train/dog/1\.png: this is no PNG or JPEG image, or a damaged one"),
        (
            lambda root: save(root / "test" / "dog" / "1.png", np.zeros((8, 6, 3), np.uint8)),
            r"test/dog/1\.png: this image has 6 x 8 pixels, but .*train/cat/0\.png has 8 x 6",
        ),
        (lambda root: save(root / "train" / "stray.png"), r"train/stray\.png: this is no folder"),
        (lambda root: save(root / "test" / "eel" / "1.png"), r"test/eel: there is no class 'eel'"),
        (empty_class, r"train/eel: there is no image"),
        (only_one_class, r"train: a classifier needs two classes, so two folders; there are cat"),
        (lambda root: (root / "train").rename(root / "training"), r"no folder 'train'"),
    ],
)
def test_what_is_wrong_is_named(
    change: Callable[[Path], object], complaint: str, folder: Path
) -> None:
    change(folder)
    with pytest.raises(DataError, match=complaint):
        load(folder)


def test_a_pipe_among_images_is_named(folder: Path) -> None:
    os.mkfifo(folder / "train" / "dog" / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png: this is no file"):
        load(folder)


def test_images_are_measured_before_they_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELENA_MAX_BYTES", "1000")
    with pytest.raises(DataError, match=r"pets: the images would take 1,440 bytes.*MAX_BYTES"):
        load(folder)
