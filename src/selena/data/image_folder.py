"""A user's own images: `train/<class>/*.png` or `.jpg`, and optionally `test/<class>/`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from selena.errors import DataError
from selena.files.reading import border, check_is_file, check_limit
from selena.types import Dataset, Records

_NO_IMAGE = "this is no PNG or JPEG image, or a damaged one"
_FIX = "Remove it or save it anew."


def load_folder(folder: Path) -> Dataset:
    """Return all images below `folder` as RGB, those of `train/` first.

    Each folder in `train/` is a class, numbered in alphabetical order. With a `test/` folder,
    members are drawn from `train/` (by default all of its images). Without one, half of the
    images are members. Files whose names begin with a dot are skipped.

    Raises:
        DataError: if there are fewer than two classes, a class is empty, a file is no image, or
            the images differ in size; the message names the folder or file.
    """
    if not (folder / "train").is_dir():
        raise DataError(
            f"{folder}: there is no folder 'train' in it. Put the images in train/CLASS/, and "
            "those for testing, if any, in test/CLASS/."
        )
    classes = [path.name for path in _visible(folder / "train")]
    if len(classes) < 2:
        raise DataError(
            f"{folder / 'train'}: a classifier needs two classes, so two folders; there are "
            f"{', '.join(classes) or 'none'}."
        )
    train = _files(folder / "train", classes)
    test = _files(folder / "test", classes) if (folder / "test").is_dir() else []
    y = torch.tensor([label for _, label in train + test])
    x = torch.from_numpy(_decode([path for path, _ in train + test]))
    return Dataset(
        name=folder.resolve().name,
        records=Records(x, y, torch.arange(len(y))),
        num_classes=len(classes),
        features="image",
        recipe="image_folder",
        n_members=len(train) if test else len(train) // 2,
        source=f"{folder.resolve().name}: {len(train):,} images in train/, {len(test):,} in test/, "
        f"{len(classes)} classes",
        member_pool=torch.arange(len(y)) < len(train) if test else None,
        class_names=tuple(classes),
    )


def _visible(folder: Path) -> list[Path]:
    with border(folder, "the folder cannot be read"):
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _files(part: Path, classes: list[str]) -> list[tuple[Path, int]]:
    """Return the images of `train/` or `test/` with their labels."""
    found = []
    for folder in _visible(part):
        if not folder.is_dir():
            raise DataError(
                f"{folder}: this is no folder. Put each image in the folder of a class."
            )
        if folder.name not in classes:
            raise DataError(
                f"{folder}: there is no class {folder.name!r} in train/. Add it there, or leave "
                "these images out."
            )
        files = _visible(folder)
        if not files:
            raise DataError(f"{folder}: there is no image in it. Add one, or remove the folder.")
        found += [(file, classes.index(folder.name)) for file in files]
    return found


def _decode(paths: list[Path]) -> UInt8[np.ndarray, "n 3 h w"]:
    """Return the images at `paths`, which must agree in size."""
    first_width, first_height = _size(paths[0])
    size = 3 * first_width * first_height * len(paths)
    check_limit(paths[0].parents[2], "bytes", size, "the images would take")
    images = np.empty((len(paths), first_height, first_width, 3), dtype=np.uint8)
    for row, path in enumerate(paths):
        width, height = _size(path)
        if (width, height) != (first_width, first_height):
            raise DataError(
                f"{path}: this image has {width} x {height} pixels, but {paths[0]} has "
                f"{first_width} x {first_height}. Resize all images to one size."
            )
        images[row] = _pixels(path)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _pixels(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    with border(path, _NO_IMAGE, _FIX), Image.open(path, formats=("PNG", "JPEG")) as image:
        return np.asarray(image.convert("RGB"))


def _size(path: Path) -> tuple[int, int]:
    """Return an image's width and height, from its header."""
    check_is_file(path)
    with border(path, _NO_IMAGE, _FIX), Image.open(path, formats=("PNG", "JPEG")) as image:
        return image.size
