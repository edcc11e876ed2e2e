"""CIFAR-10 and CIFAR-100 from their published archives of Python pickles (Krizhevsky 2009).

60,000 photographs of 32 x 32 pixels, 50,000 of them published for training. As in Tang et al.
2022, Section 5.1, members are training images. CIFAR-100 uses all of them, so its non-members are
the test images.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from selena.data.archives import read_members
from selena.data.download import fetch
from selena.data.pickles import load_pickle
from selena.errors import DataError
from selena.types import Dataset, Records
from selena.workspace import Progress

_SITE = "https://www.cs.toronto.edu/~kriz/"
_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Cifar:
    """CIFAR-10 or CIFAR-100, and the layout of its archive.

    Attributes:
        name: registered name of the set and of its training recipe.
        archive: file name of the published archive.
        md5: its MD5; the publisher gives no other checksum.
        train: files in the archive that hold the training images.
        test: the file that holds the test images.
        labels: key of the labels in these files.
        num_classes: number of classes.
        members: how many training images are members by default.
        content: the `content_digest` of the set, if known. Another archive of the same images and
            labels, in any order, is accepted as the same set.
    """

    name: str
    archive: str
    md5: str
    train: tuple[str, ...]
    test: str
    labels: str
    num_classes: int
    members: int
    content: str | None = None

    def load(self, data_dir: Path | None = None, progress: Progress | None = None) -> Dataset:
        """Return the published set, from `data_dir` or downloaded.

        Raises:
            DataError: if the archive is not available, or is not the published one and holds other
                images.
        """
        try:
            path = fetch(
                self.archive,
                [_SITE + self.archive],
                f"md5:{self.md5}",
                data_dir=data_dir,
                progress=progress,
            )
        except DataError:
            same = None if data_dir is None else self._of_same_content(data_dir / self.archive)
            if same is None:
                raise
            return same
        return self.build(read_members(path, (*self.train, self.test)), path, self.name)

    def _of_same_content(self, archive: Path) -> Dataset | None:
        """Return the set if another archive holds its images and labels, or None."""
        if self.content is None:
            return None
        try:
            files = read_members(archive, (*self.train, self.test))
            dataset = self.build(files, archive, self.name)
        except DataError:
            return None
        return dataset if content_digest(dataset) == self.content else None

    def build(self, files: dict[str, bytes], archive: Path, name: str) -> Dataset:
        """Return the images in `files` of `archive`, those for training first, then the others.

        Raises:
            DataError: if a file is absent or damaged, or holds anything but such images.
        """
        absent = [file for file in (*self.train, self.test) if file not in files]
        if absent:
            raise DataError(
                f"{archive}: holds no file {absent[0]!r}, only {', '.join(sorted(files))} of the "
                f"form of {self.name}. Fetch the archive again."
            )
        train = [self._read(files[file], f"{archive}:{file}") for file in self.train]
        test = self._read(files[self.test], f"{archive}:{self.test}")
        x = np.concatenate([images for images, _ in (*train, test)])
        y = np.concatenate([labels for _, labels in (*train, test)])
        in_training = torch.arange(len(y)) < len(y) - len(test[1])
        count = int(in_training.sum())
        return Dataset(
            name=name,
            records=Records(torch.from_numpy(x), torch.from_numpy(y), torch.arange(len(y))),
            num_classes=self.num_classes,
            features="image",
            recipe=self.name,
            n_members=min(self.members, count),
            source=f"{self.name}: {count:,} training and {len(y) - count:,} test images of "
            f"{archive.name}",
            member_pool=in_training,
        )

    def _read(
        self, content: bytes, where: str
    ) -> tuple[UInt8[np.ndarray, "n 3 32 32"], Int64[np.ndarray, " n"]]:
        batch = load_pickle(content, name=where)
        if not isinstance(batch, dict) or not {"data", self.labels} <= batch.keys():
            raise DataError(
                f"{where}: the pickle holds no 'data' and {self.labels!r}. Fetch it again."
            )
        images, labels = batch["data"], batch[self.labels]
        if (
            not isinstance(images, np.ndarray)
            or images.dtype != np.uint8
            or images.shape[1:] != (_PIXELS,)
        ):
            described = getattr(images, "shape", type(images).__name__)
            raise DataError(
                f"{where}: 'data' must be an array of bytes, n x {_PIXELS}, but is {described}. "
                "Fetch it again."
            )
        if not isinstance(labels, list) or len(labels) != len(images):
            count = len(labels) if isinstance(labels, list) else type(labels).__name__
            raise DataError(
                f"{where}: {len(images)} images, but {self.labels!r} holds {count}. Fetch it again."
            )
        for row, label in enumerate(labels):
            if type(label) is not int or not 0 <= label < self.num_classes:
                raise DataError(
                    f"{where}, image {row}: the label is {_shown(label)} instead of a number from "
                    f"0 to {self.num_classes - 1}. Fetch it again."
                )
        return images.reshape(-1, *_SHAPE), np.array(labels, dtype=np.int64)


def content_digest(dataset: Dataset) -> str:
    """Return the SHA-256 (hex) of the images with their labels and their part (training, test).

    The order of the images within a part does not matter.
    """
    records, pool = dataset.records, dataset.member_pool
    assert pool is not None  # `build` sets it
    parts: tuple[list[bytes], list[bytes]] = ([], [])
    pixels, labels = records.x.numpy(), records.y.tolist()
    for row, in_training in enumerate(pool.tolist()):
        content = pixels[row].tobytes() + labels[row].to_bytes(1)
        parts[0 if in_training else 1].append(sha256(content).digest())
    return sha256(b"|".join(b"".join(sorted(part)) for part in parts)).hexdigest()


def _shown(label: object) -> str:
    # Nested lists that refer to each other are small in a file, but endless when printed.
    return repr(label) if isinstance(label, int) else f"a {type(label).__name__}"


CIFAR10 = Cifar(
    name="cifar10",
    archive="cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
    train=tuple(f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)),
    test="cifar-10-batches-py/test_batch",
    labels="labels",
    num_classes=10,
    members=5_000,  # training K sub-models on all 50,000 needs a GPU: see --members
)
CIFAR100 = Cifar(
    name="cifar100",
    archive="cifar-100-python.tar.gz",
    md5="eb9058c3a382ffc7106e4002c42a8d85",
    train=("cifar-100-python/train",),
    test="cifar-100-python/test",
    labels="fine_labels",
    num_classes=100,
    members=50_000,
    # Computed from a copy in PNG files, with the published means, deviations and class sizes.
    content="620e6f14366bee07d2dcfa38a4df3bcb8a85440bdab0bbdfa0b6f7d3680a4bc2",
)


def read(archive: Path) -> Dataset:
    """Read an archive in the form of either set, of any size, as a user's own file.

    Raises:
        DataError: if the archive or anything in it is damaged, or it has another form.
    """
    forms = (CIFAR10, CIFAR100)
    files = read_members(archive, {file for form in forms for file in (*form.train, form.test)})
    for form in forms:
        if form.test in files:
            return form.build(files, archive, archive.name)
    raise DataError(
        f"{archive}: holds neither {CIFAR10.test!r} nor {CIFAR100.test!r}. A .tar.gz archive must "
        "have the form of CIFAR-10 or CIFAR-100."
    )
