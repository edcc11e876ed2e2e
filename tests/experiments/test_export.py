"""ONNX files: another runtime gives the same answers; what would lose its protection is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from selena.cli.export import export_command
from selena.errors import ConfigError, StoreError
from selena.experiments import export
from selena.experiments.export import TOLERANCE, export_onnx
from selena.experiments.pipeline import Case, DataSettings, train
from selena.experiments.store import RunFolder
from selena.files.writing import write_json
from selena.seeding import numpy_generator
from selena.training.batches import as_input
from selena.workspace import Workspace

# Not imported here: that takes every worker a second, and only deep tests need them.
pytestmark = pytest.mark.skipif(
    not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))),
    reason="onnx, onnxscript or onnxruntime is not installed",
)

QUICK = {"epochs": 1, "precision": "float32"}
PLAN = {"hidden": [8], "n_submodels": 2, "n_nonmodels": 1, "training": QUICK, "distillation": QUICK}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RunFolder]:
    """Train a run of a data set and a defense, with changes to the plan."""
    runs = tmp_path_factory.mktemp("runs")

    def run(dataset: str, defense: str, **plan: Any) -> RunFolder:
        settings = {"memguard": {"search": {"most_steps": 1}}}
        case = Case(DataSettings(dataset, n_members=60), defense, 0, "last", PLAN | plan, settings)
        return train(case, runs, Workspace())

    return run


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of small images in two classes."""
    folder = tmp_path_factory.mktemp("images")
    pixels = numpy_generator(0, "pixels").integers(0, 256, (120, 8, 8, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        path = folder / "train" / f"class{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return str(folder)


def check(run: RunFolder, path: Path, *, probabilities: bool = False) -> None:
    """Export, and compare with the restored model's answers, whatever the number of records."""
    done = export_onnx(run, path, probabilities=probabilities)
    assert done.checked > 1
    assert done.difference <= TOLERANCE
    case = Case.from_run(run)
    dataset = case.dataset()
    x = dataset.records.x[:7]
    expected = case.build_defense(dataset).restore(run.load_model()).logits(x)
    if probabilities:
        expected = expected.softmax(dim=1)
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(path.read_bytes())
    for n in (1, 2, 7):
        (answer,) = session.run([done.output], {"x": as_input(x[:n]).numpy()})
        np.testing.assert_allclose(answer, expected[:n], atol=TOLERANCE)
    told = session.get_modelmeta().custom_metadata_map
    assert told["num_classes"] == str(dataset.num_classes)
    assert told["run"] == run.path.name
    # Nothing tells of the machine that made it.
    folders = [str(Path(str(module.__file__)).parent) for module in (torch, export)]
    assert not any(folder.encode() in path.read_bytes() for folder in folders)


@pytest.mark.deep
def test_a_network_answers_the_same(trained: Callable[..., RunFolder], tmp_path: Path) -> None:
    check(trained("digits", "selena"), tmp_path / "model.onnx")


@pytest.mark.deep
def test_standardized_network_answers_the_same(
    trained: Callable[..., RunFolder], tmp_path: Path
) -> None:
    run = trained("digits", "undefended", standardize=True)
    check(run, tmp_path / "model.onnx", probabilities=True)


@pytest.mark.deep
def test_a_resnet_answers_the_same(
    trained: Callable[..., RunFolder], images: str, tmp_path: Path
) -> None:
    run = trained(images, "undefended", architecture="small_resnet")
    check(run, tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("defense", "why"),
    [
        ("split_ai", "sub-models"),
        ("memguard", "noise"),
        ("hamp", "decoy"),
        ("top_k", "hides"),
    ],
)
def test_what_would_lose_its_protection_is_refused(
    trained: Callable[..., RunFolder], defense: str, why: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=f"cannot be exported.*{why}"):
        export_onnx(trained("digits", defense), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.deep
def test_a_file_that_answers_otherwise_is_not_written(
    trained: Callable[..., RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(StoreError, match="Nothing was written"):
        export_onnx(trained("digits", "undefended"), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.deep
def test_the_command_says_what_was_checked(
    trained: Callable[..., RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, path = trained("digits", "undefended"), tmp_path / "model.onnx"
    printed = StringIO()
    with redirect_stdout(printed):
        export_command(run.path, path, probabilities=True)
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        export_command(run.path, path)
    assert "the probabilities of 256 records differ from PyTorch's by at most" in printed.getvalue()
    assert "Not checked" in printed.getvalue()


def test_missing_packages_are_named(
    trained: Callable[..., RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained("digits", "undefended")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"selena-privacy\[onnx\]"):
        export_onnx(run, tmp_path / "model.onnx")


def test_a_damaged_run_is_refused(trained: Callable[..., RunFolder], tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    source = trained("digits", "undefended").path / "manifest.json"
    write_json(run.path / "manifest.json", json.loads(source.read_text()))
    with pytest.raises(StoreError, match="absent or damaged"):
        export_onnx(run, tmp_path / "model.onnx")
