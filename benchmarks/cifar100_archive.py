"""CIFAR-100 in the published layout, from all its images as lossless WebP in .npz files.

Run with `python -m benchmarks.cifar100_archive SOURCE_DIR OUT_DIR`, then
`selena run --dataset cifar100 --data-dir OUT_DIR`. SOURCE_DIR holds `train_0.npz` to
`train_3.npz` and `test.npz`, each with `webp` (the bytes of all images, one after another),
`lengths` (bytes of each), `labels` (0 to 99) and `classes` (the fine labels in alphabetical order,
as the publisher numbers them), as made of the GitHub repository cyizhuo/CIFAR-100-dataset.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.cifar10_subset import pack
from selena.data.cifar import CIFAR100

FOLDER = "cifar-100-python"
PARTS = {"train": tuple(f"train_{part}.npz" for part in range(4)), "test": ("test.npz",)}


def decode(source: Path, most: int | None = None) -> tuple[np.ndarray, list[int], list[str]]:
    """Return the first `most` images as n x 3,072 bytes, channel-major, labels, and class names."""
    with np.load(source, allow_pickle=False) as arrays:
        content, lengths = arrays["webp"], arrays["lengths"][:most].astype(np.int64)
        labels, classes = arrays["labels"][:most].tolist(), arrays["classes"].tolist()
    images = np.empty((len(lengths), 3, 32, 32), dtype=np.uint8)
    for row, (end, length) in enumerate(zip(lengths.cumsum(), lengths, strict=True)):
        webp = io.BytesIO(content[end - length : end].tobytes())
        with Image.open(webp, formats=("WEBP",)) as image:
            images[row] = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    return images.reshape(len(images), -1), labels, classes


def convert(source: Path, folder: Path, most: int | None = None) -> Path:
    """Write the archive, of at most so many images of each file, and return its path."""
    files = {}
    for part, names in PARTS.items():
        decoded = [decode(source / name, most) for name in names]
        files[f"{FOLDER}/{part}"] = {
            "data": np.concatenate([images for images, _, _ in decoded]),
            "fine_labels": [label for _, labels, _ in decoded for label in labels],
        }
        files[f"{FOLDER}/meta"] = {"fine_label_names": decoded[0][2]}
    return pack(folder / CIFAR100.archive, files)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("out_dir", type=Path)
    arguments = parser.parse_args()
    print(convert(arguments.source, arguments.out_dir))


if __name__ == "__main__":
    main()
