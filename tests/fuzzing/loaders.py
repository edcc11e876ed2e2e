"""What a file may reach: each loader with valid files and the way to change them.

To fuzz one more loader, add an entry to `LOADERS`: valid contents of one of its files, a function
that reads that file at its path, and, where it stands among others, one that puts these into the
folder first (see "image folder"). A folder of files is packed into one (see "run folder").
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import safetensors.torch
from PIL import Image
from pyarrow import parquet
from torch import nn

from selena.attacks.reference_matrix import ReferenceMatrix
from selena.auditing.conditions import parse_condition
from selena.auditing.predictions import read_predictions
from selena.auditing.report import AuditReport
from selena.config import override, read_toml
from selena.data import cifar, location, purchase, texas
from selena.data.image_folder import load_folder
from selena.data.load import load_file
from selena.experiments.pipeline import RunSettings
from selena.models import files, network, onnx_file
from tests.data import bit_archives, cifar_archives
from tests.fuzzing import mutate
from tests.fuzzing.mutate import Mutator, mutated
from tests.reports import made
from tests.run_folders import change_packed_run, packed_run, read_packed_run


def _nothing(folder: Path) -> None:
    """Leave the folder empty."""


@dataclass(frozen=True)
class Loader:
    """A loader under test.

    Attributes:
        file: path of the changed file in a folder of its own.
        seeds: valid contents; they must load, which a test checks.
        load: reads the file at a path.
        change: returns changed contents.
        prepare: puts what else is needed into the folder, once.
    """

    file: str
    seeds: Callable[[], Sequence[bytes]]
    load: Callable[[Path], object]
    change: Mutator = mutated
    prepare: Callable[[Path], None] = _nothing


N = 40
RNG = np.random.default_rng(0)


def _npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:  # savez would write the time of day
        for name, array in arrays.items():
            part = io.BytesIO()
            np.save(part, array)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), part.getvalue())
    return stream.getvalue()


def _columns(arrays: dict[str, Any]) -> dict[str, Any]:
    """Return arrays as columns of a table."""
    columns: dict[str, Any] = {}
    for name, array in arrays.items():
        if array.ndim == 2:
            columns |= {f"{name}{place}": array[:, place] for place in range(array.shape[1])}
        else:
            columns[name] = array
    return columns


def _csv(arrays: dict[str, Any]) -> bytes:
    columns = _columns(arrays)
    rows = zip(*(map(str, column.tolist()) for column in columns.values()), strict=True)
    return "\n".join(map(",".join, [tuple(columns), *rows])).encode() + b"\n"


def _parquet(arrays: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(pa.table(_columns(arrays)), stream)
    return stream.getvalue()


P = RNG.dirichlet(np.ones(2), N)
PREDICTIONS: dict[str, Any] = {
    "p": P,
    "label": np.arange(N) % 2,
    "member": np.arange(N) % 2 == 0,
    "known": np.arange(N) % 4 < 2,
    "subject": np.arange(N),
}
IN_NPZ = dict(
    zip(
        ("probabilities", "labels", *list(PREDICTIONS)[2:4], "subjects"),
        PREDICTIONS.values(),
        strict=True,
    )
)
RECORDS: dict[str, Any] = {"x": RNG.normal(size=(N, 2)), "label": np.arange(N) % 3}
REFERENCES: dict[str, Any] = {
    "confidence": RNG.normal(size=(N, 4)),
    "inside": np.arange(4) % 2 == np.arange(N)[:, None] % 2,
}
NAMED = RECORDS | {"label": np.array(["cat", "dog"] * (N // 2))}


def _packed(pack: Callable[[Path], Any]) -> Callable[[], list[bytes]]:
    """Return the contents of the file that a test's helper writes."""

    def seeds() -> list[bytes]:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "file"
            pack(path)
            return [path.read_bytes()]

    return seeds


def _location(path: Path) -> None:
    rows = [b'"%d",%s' % (row % 30 + 1, b",".join([b"0"] * 446)) for row in range(30)]
    bit_archives.pack(path, {"bangkok": b"\n".join(rows) + b"\n"})


def _bits(write: Callable[..., Any], width: int) -> Callable[[Path], Any]:
    return lambda path: write(path, *bit_archives.records(8, width))


def _report(path: Path) -> None:
    report = made.report(1.0)
    timeless = {
        name: replace(result, scores=replace(result.scores, seconds=0.0))
        for name, result in report.attacks.items()
    }
    replace(report, attacks=timeless).save(path)


def _image(kind: str) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def _images(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / "train" / name).mkdir(parents=True)
        (folder / "train" / name / "0.png").write_bytes(_image("PNG"))


def _net() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))


def _onnx() -> list[bytes]:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.ones((2, 3)).astype(np.float32), "w")
    shapes: tuple[tuple[str, list[str | int | None]], ...] = (("x", ["n", 2]), ("y", ["n", 3]))
    given, answer = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"], axis=1),
    ]
    graph = helper.make_graph(nodes, "g", [given], [answer], [weights])
    opset = [helper.make_opsetid("", 17)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opset, ir_version=8)
    return [model.SerializeToString()]


def _ask_onnx(path: Path) -> object:
    model = onnx_file.open_onnx(path, "cpu")
    return ask(model, np.ones((3, 2), dtype=np.float32))


def ask(model: Callable[[Any], Any], x: np.ndarray) -> object:
    """Ask a model as an audit does."""
    from selena.models.containers import contain
    from selena.models.models import Model
    from selena.models.targets import ask_all

    return ask_all(Model("The model", model, "logits"), contain(x, "x"))


@cache
def _toml() -> list[bytes]:
    text = """
defenses = ["selena"]
seeds = [1, 2]
[data]
dataset = "digits"
members = 100
[plan.training]
learning_rate = 1e-3
milestones = [1, 2]
"a.b".c = {d = 1979-05-27T07:32:00Z, e = 'x'}
"""
    return [text.encode()]


def _load_both(path: Path) -> object:
    """Read a table as a data set and as records of an audit."""
    read = files.read_records(path)
    return read, load_file(path)


CONDITIONS = (b"advantage>0.10", b"tpr@fpr=1% >= 5%", b"gap < -1e-3", b"test_accuracy<=90%")

LOADERS: dict[str, Loader] = {
    "predictions npz": Loader(
        "p.npz", lambda: [_npz(**IN_NPZ)], read_predictions, mutate.zip_member
    ),
    "predictions csv": Loader(
        "p.csv", lambda: [_csv(PREDICTIONS)], read_predictions, mutate.csv_cell
    ),
    "predictions parquet": Loader(
        "p.parquet", lambda: [_parquet(PREDICTIONS)], read_predictions, mutate.parquet_column
    ),
    "table npz": Loader(
        "t.npz",
        lambda: [_npz(x=RECORDS["x"], y=RECORDS["label"], num_classes=3)],
        _load_both,
        mutate.zip_member,
    ),
    "table csv": Loader(
        "t.csv", lambda: [_csv(RECORDS), _csv(NAMED)[:-1]], _load_both, mutate.csv_cell
    ),
    "table parquet": Loader(
        "t.parquet",
        lambda: [_parquet(RECORDS), _parquet(NAMED)],
        _load_both,
        mutate.parquet_column,
    ),
    "references npz": Loader(
        "r.npz",
        lambda: [_npz(confidences=REFERENCES["confidence"].T, inside=REFERENCES["inside"].T)],
        ReferenceMatrix.load,
        mutate.zip_member,
    ),
    "references csv": Loader(
        "r.csv", lambda: [_csv(REFERENCES)], ReferenceMatrix.load, mutate.csv_cell
    ),
    "references parquet": Loader(
        "r.parquet", lambda: [_parquet(REFERENCES)], ReferenceMatrix.load, mutate.parquet_column
    ),
    "settings": Loader("s.toml", _toml, lambda path: override(RunSettings(), read_toml(path))),
    "condition": Loader(
        "c.txt", lambda: CONDITIONS, lambda path: parse_condition(path.read_text("latin-1"))
    ),
    "cifar": Loader(
        "c.tar.gz",
        _packed(lambda path: cifar_archives.pack(path, cifar_archives.cifar10_files(1, 2))),
        cifar.read,
        mutate.tar_member,
    ),
    "location": Loader("l.tar.gz", _packed(_location), location.read, mutate.tar_member),
    "purchase": Loader(
        "p.tar.gz",
        _packed(_bits(bit_archives.purchase, 600)),
        lambda path: list(purchase.blocks(path)),
        mutate.tar_member,
    ),
    "texas": Loader(
        "t.tar.gz",
        _packed(_bits(bit_archives.texas, 6_169)),
        lambda path: list(texas.blocks(path)),
        mutate.tar_member,
    ),
    "image folder": Loader(
        "train/a/1.png",
        lambda: [_image("PNG"), _image("JPEG")],
        lambda path: load_folder(path.parents[2]),
        prepare=_images,
    ),
    "safetensors": Loader(
        "w.safetensors",
        lambda: [safetensors.torch.save(_net().state_dict())],
        lambda path: network.load_network(path, _net),
        mutate.header,
    ),
    "onnx": Loader("m.onnx", _onnx, _ask_onnx),
    "run folder": Loader("run.zip", lambda: [packed_run()], read_packed_run, change_packed_run),
    "report": Loader("r.safetensors", _packed(_report), AuditReport.load, mutate.header),
}
