"""Archives in the layout of the published ones, pickled as Python 2 did it."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

RNG = np.random.default_rng(0)

Files = dict[str, Any]


_PurePython: Any = pickle._Pickler  # which, unlike the one in C, can be taught


class Python2Pickler(_PurePython):  # type: ignore[misc]
    """Writes bytes as Python 2's strings, and NumPy's function by its name of that time."""

    dispatch: ClassVar = dict(_PurePython.dispatch)

    def save_bytes(self, value: bytes) -> None:
        if id(value) in self.memo:
            self.write(self.get(self.memo[id(value)][0]))
            return
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    def save_str(self, value: str) -> None:
        self.save_bytes(value.encode("latin1"))

    def save_reconstruct(self, function: object) -> None:
        self.write(b"cnumpy.core.multiarray\n_reconstruct\n")
        self.memoize(function)

    dispatch[bytes] = save_bytes
    dispatch[str] = save_str
    dispatch[type(np.empty(0).__reduce__()[0])] = save_reconstruct


def python2_pickle(value: object) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue()


def pack(path: Path, files: Files) -> Path:
    """Write an archive; what is not bytes already is pickled."""
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, value in files.items():
            content = value if isinstance(value, bytes) else python2_pickle(value)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def batch(n: int, classes: int, key: str = "labels", **more: object) -> dict[str, Any]:
    """Random images, row r of class r % classes."""
    return {
        "data": RNG.integers(0, 256, (n, 3_072), dtype=np.uint8),
        key: [row % classes for row in range(n)],
        "filenames": [f"s_{row}.png" for row in range(n)],
        **more,
    }


def cifar10_files(per_batch: int = 10, test: int = 20) -> Files:
    folder = "cifar-10-batches-py"
    names = [f"class {label}" for label in range(10)]
    files: Files = {f"{folder}/batches.meta": {"num_cases_per_batch": 10, "label_names": names}}
    for number in (4, 1, 2, 3, 5):  # the order in an archive is nobody's promise
        label = f"training batch {number} of 5"
        files[f"{folder}/data_batch_{number}"] = batch(per_batch, 10, batch_label=label)
    files[f"{folder}/readme.html"] = b"<html></html>"
    files[f"{folder}/test_batch"] = batch(test, 10, batch_label="testing batch 1 of 1")
    return files


def cifar100_files(train: int = 200, test: int = 60) -> Files:
    folder = "cifar-100-python"
    coarse = {"coarse_labels": [0] * train}
    return {
        f"{folder}/meta": {"fine_label_names": [str(label) for label in range(100)]},
        f"{folder}/test": batch(test, 100, "fine_labels", coarse_labels=[0] * test),
        f"{folder}/train": batch(train, 100, "fine_labels", **coarse),
    }
