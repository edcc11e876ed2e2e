"""Exports a run's target model as an ONNX file, for use without PyTorch.

A file holds one network and nothing else. A model that answers some records differently, or
searches noise for each query, would lose its protection in the file; it is refused.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from selena.defenses.dp_sgd import DPModel
from selena.defenses.hamp import HAMPModel
from selena.defenses.memguard import MemGuardModel
from selena.defenses.output_filters import TopKModel
from selena.defenses.split_ai import SplitAIModel
from selena.environment.version import __version__
from selena.errors import ConfigError, StoreError
from selena.experiments.manifest import Manifest
from selena.experiments.pipeline import Case
from selena.experiments.store import RunFolder
from selena.files.writing import atomic_path
from selena.training.batches import as_input
from selena.training.model import NetworkModel
from selena.types import Dataset, StoredModel
from selena.workspace import Progress

TOLERANCE = 1e-4
"""Largest allowed difference between answers of the file and of PyTorch."""

_CHECKED = 256
_WHY_NOT: tuple[tuple[type, str], ...] = (
    (SplitAIModel, "answers each record by the sub-models that never saw it, found by content"),
    (MemGuardModel, "searches noise for each answer"),
    (HAMPModel, "replaces each answer's values by those of a decoy, drawn with a secret key"),
    (TopKModel, "hides a part of each answer, which whoever holds the network can read"),
)
_INPUTS = {
    "binary": "bits as 0.0 and 1.0",
    "continuous": "features as they are",
    "image": "pixels in [0, 1], channels first",
}


@dataclass(frozen=True)
class Exported:
    """A written file.

    Attributes:
        path: its path.
        output: name of its output, "logits" or "probabilities".
        checked: number of records whose answers were compared with PyTorch's; 0 without
            onnxruntime.
        difference: the largest absolute difference of these answers.
    """

    path: Path
    output: str
    checked: int
    difference: float


def export_onnx(
    run: RunFolder,
    path: Path,
    *,
    probabilities: bool = False,
    data_dir: Path | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write the target model of `run` as an ONNX file, whole or not at all.

    The file takes float32 "x" (n x the shape of a record) with any n and returns float32 "logits"
    (n x c). Its metadata hold the number of classes, run, defense, data set, the form of the input
    and the version. If onnxruntime is installed, the file's answers to records of the data set are
    compared with PyTorch's before it gets its name.

    Args:
        run: a finished run.
        path: the file to write.
        probabilities: end in a softmax; the output is then called "probabilities".
        data_dir: folder of the data set's archive, if it has moved.
        progress: shows the loading of the data set.

    Raises:
        ConfigError: the model is not one network, or the extra "onnx" is not installed.
        StoreError: the run is incomplete or damaged, or the file gives different answers.
    """
    onnx = _onnx()
    manifest = run.manifest()
    case = Case.from_run(run, data_dir)
    dataset = case.dataset(progress)
    network = single_network(run.restore(case.build_defense(dataset)))
    if probabilities:
        network = nn.Sequential(network, nn.Softmax(dim=1))
    network.eval()
    output = "probabilities" if probabilities else "logits"
    x = as_input(dataset.records.x[:_CHECKED])
    proto = _translate(network, x[:2], output)
    onnx.helper.set_model_props(proto, _metadata(manifest, dataset, run))
    onnx.checker.check_model(proto)
    with atomic_path(path) as temporary:
        onnx.save_model(proto, temporary)
        checked, difference = _compare(temporary, network, x)
    return Exported(path, output, checked, difference)


def single_network(model: StoredModel) -> nn.Module:
    """Return the network of a `model` that is nothing more.

    Raises:
        ConfigError: it is more than a network; the message says why it cannot be exported.
    """
    if isinstance(model, NetworkModel):
        return model.network
    if isinstance(model, DPModel):
        return model.model.network
    why = next((why for kind, why in _WHY_NOT if isinstance(model, kind)), "is not one network")
    raise ConfigError(
        f"A {type(model).__name__} cannot be exported: it {why}. An ONNX file holds the "
        "network alone, without that protection. Export a run whose protection lies in its "
        "weights, as that of selena does."
    )


def _metadata(manifest: Manifest, dataset: Dataset, run: RunFolder) -> dict[str, str]:
    return {
        "num_classes": str(dataset.num_classes),
        "run": run.path.name,
        "defense": manifest.settings.defense,
        "dataset": dataset.name,
        "input": _INPUTS[dataset.features],
        "selena_version": __version__,
        "model_sha256": manifest.model_sha256,
    }


def _translate(network: nn.Module, x: Float[Tensor, "n *features"], output: str) -> Any:
    """Return the network as an ONNX model."""
    with _quiet():
        program = torch.onnx.export(
            network,
            (x,),
            dynamo=True,
            input_names=["x"],
            output_names=[output],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            verbose=False,
        )
    assert program is not None  # only the old exporter, which writes files, returns None
    proto = program.model_proto
    for node in proto.graph.node:
        del node.metadata_props[:]  # they hold stack traces with paths of this machine
    return proto


def _compare(path: Path, network: nn.Module, x: Float[Tensor, "n *features"]) -> tuple[int, float]:
    """Return the number of compared answers, and their largest difference."""
    try:
        import onnxruntime
    except ImportError:
        return 0, 0.0
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = network(x).numpy()
    inputs = x.numpy()
    # Also with a single record, to find a batch axis that is not dynamic.
    parts = [session.run(None, {"x": part})[0] for part in (inputs[:1], inputs[1:]) if len(part)]
    difference = float(np.abs(np.concatenate(parts) - expected).max())
    if not difference <= TOLERANCE:  # also true for NaN
        raise StoreError(
            f"The exported model's answers lie up to {difference:.2g} from PyTorch's, more than "
            f"{TOLERANCE:g}. Nothing was written; please report the versions of torch and onnx."
        )
    return len(x), difference


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence PyTorch's exporter, which warns about its own code and about other packages."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)  # "torchvision is not installed"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated", FutureWarning)
            yield
    finally:
        registration.setLevel(level)


def _onnx() -> Any:
    try:
        import onnx
        import onnxscript  # noqa: F401 - what PyTorch's exporter needs
    except ImportError as error:
        raise ConfigError(
            "ONNX files need onnx and onnxscript, which are not installed. "
            "Install them with: pip install 'selena-privacy[onnx]'"
        ) from error
    return onnx
