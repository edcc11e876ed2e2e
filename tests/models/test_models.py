"""Every kind of model: a planted leak is found, and none where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from torch import Tensor, nn

from selena.attacks.gaussian_noise import GaussianNoiseAttack
from selena.attacks.neural import NeuralAttack
from selena.auditing.predictions import Predictions
from selena.auditing.report import AuditReport
from selena.models import audit
from selena.models.chosen import affordable
from selena.registry import prediction_attacks
from selena.training.model import NetworkModel
from selena.types import Attack, Records
from tests.models.memory import (
    CLASSES,
    FEATURES,
    Pair,
    forgetting,
    probabilities,
    quick,
    remembering,
    sides,
)

MEMBERS, OTHERS = sides()
Make = Callable[[nn.Module, Path], dict[str, Any]]


def auc(report: AuditReport) -> float:
    return report.attacks["confidence"].variants["global"].summary.auc


def safetensors(network: nn.Module, folder: Path) -> dict[str, Any]:
    path = folder / "weights.safetensors"
    save_file(network.state_dict(), path)
    blank = forgetting() if isinstance(network, nn.Linear) else remembering(MEMBERS)
    for parameter in blank.parameters():
        nn.init.zeros_(parameter)
    return {"model": str(path), "factory": lambda: blank}


def onnx_file(network: nn.Module, folder: Path, batch: int | str = "n") -> dict[str, Any]:
    pytest.importorskip("onnxruntime", reason="needs the onnx extra")
    onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    nodes, name = [], "x"
    weights = [
        onnx.numpy_helper.from_array(np.float32(bound), end)
        for end, bound in (("low", 0), ("high", 6))
    ]
    for i, layer in enumerate(layers):
        for kind, tensor in (("w", layer.weight), ("b", layer.bias)):
            weights.append(onnx.numpy_helper.from_array(tensor.detach().numpy(), f"{kind}{i}"))
        nodes.append(onnx.helper.make_node("Gemm", [name, f"w{i}", f"b{i}"], [f"h{i}"], transB=1))
        name = f"h{i}"
        if i < len(layers) - 1:
            nodes.append(onnx.helper.make_node("Clip", [name, "low", "high"], [f"r{i}"]))
            name = f"r{i}"
    nodes.append(onnx.helper.make_node("ArgMax", [name], ["label"], axis=1, keepdims=0))
    kind, whole = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    graph = onnx.helper.make_graph(
        nodes,
        "network",
        [onnx.helper.make_tensor_value_info("x", kind, [batch, FEATURES])],
        [
            onnx.helper.make_tensor_value_info("label", whole, [batch]),
            onnx.helper.make_tensor_value_info(name, kind, [batch, CLASSES]),
        ],
        weights,
    )
    version = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=version, ir_version=9)
    onnx.save(model, folder / "network.onnx")
    return {"model": folder / "network.onnx"}


KINDS: dict[str, Make] = {
    "function": lambda network, _: {"model": lambda x: probabilities(network, x)},
    "function of logits": lambda network, _: {
        "model": lambda x: network(torch.from_numpy(x)).detach(),
        "output": "logits",
    },
    "network": lambda network, _: {"model": network},
    "network of probabilities": lambda network, _: {"model": nn.Sequential(network, nn.Softmax(1))},
    "target model": lambda network, _: {"model": NetworkModel(network, CLASSES)},
    "safetensors": safetensors,
    "onnx": onnx_file,
    "onnx of one size of batch": lambda network, folder: onnx_file(network, folder, batch=7),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_leak_is_found_and_no_other(kind: str, tmp_path: Path) -> None:
    both = {"members": MEMBERS, "non_members": OTHERS}
    leaking = quick(**both, **KINDS[kind](remembering(MEMBERS), tmp_path))
    assert leaking.best("direct").figures.summary.advantage == 1.0
    assert leaking.train_accuracy.value == 1.0
    assert leaking.train_accuracy.n == 200
    tight = quick(**both, **KINDS[kind](forgetting(), tmp_path))
    assert auc(tight) == pytest.approx(0.5, abs=0.1)


@pytest.mark.deep
@pytest.mark.filterwarnings("ignore")  # those of the exporter
def test_what_pytorch_exports(tmp_path: Path) -> None:
    for module in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(module, reason="needs the onnx extra, and onnxscript to export")
    path = tmp_path / "network.onnx"
    batch = {0: torch.export.Dim("n")}
    example = (torch.from_numpy(MEMBERS[0][:4]),)
    network = remembering(MEMBERS).eval()
    torch.onnx.export(network, example, path, dynamic_shapes=(batch,), verbose=False)
    assert auc(quick(path, MEMBERS, OTHERS)) == 1.0


def one_column(network: nn.Module) -> nn.Module:
    class Difference(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = network(x)
            return logits[:, 1] - logits[:, 0]

    return Difference()


def test_two_classes_in_two_columns_or_in_one() -> None:
    members, others = sides(classes=2)
    network = remembering(members, classes=2)
    single = one_column(network)
    reports = [
        quick(network, members, others),
        quick(single, members, others),
        quick(nn.Sequential(single, nn.Sigmoid()), members, others),
        quick(lambda x: single(torch.from_numpy(x))[:, None], members, others, output="logits"),
        quick(lambda x: probabilities(network, x)[:, 1], members, others, num_classes=2),
    ]
    for report in reports:
        assert auc(report) == 1.0
        assert report.train_accuracy.value == 1.0
    assert quick(forgetting(classes=2), members, others).train_accuracy.value < 0.7


def test_every_container_of_a_network() -> None:
    def given(convert: Callable[[np.ndarray], Any]) -> list[Pair]:
        return [(convert(x), y) for x, y in (MEMBERS, OTHERS)]

    def as_records(x: np.ndarray, y: np.ndarray) -> Records:
        return Records(torch.from_numpy(x), torch.from_numpy(y), torch.arange(len(x)))

    network = remembering(MEMBERS)
    for convert in (torch.from_numpy, np.ndarray.tolist, lambda x: x.astype(np.float64)):
        assert auc(quick(network, *given(convert))) == 1.0
    assert auc(quick(network, as_records(*MEMBERS), as_records(*OTHERS))) == 1.0
    for library in ("pandas", "polars"):
        frame = pytest.importorskip(library, reason="is not installed").DataFrame
        assert auc(quick(network, *given(frame))) == 1.0


def test_the_network_is_given_back_as_it_was() -> None:
    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = remembering(MEMBERS)
            self.frozen = nn.Dropout().eval()
            self.modes: set[bool] = set()

        def forward(self, x: Tensor) -> Tensor:
            self.modes |= {self.training, torch.is_grad_enabled()}
            answers: Tensor = self.network(self.frozen(x))
            return answers

    watched = Watched()
    assert auc(quick(watched, MEMBERS, OTHERS)) == 1.0
    assert watched.modes == {False}
    assert watched.training
    assert watched.network.training
    assert not watched.frozen.training
    assert all(p.requires_grad and p.grad is None for p in watched.parameters())


def named(y: np.ndarray) -> list[str]:
    return [("cat", "ant", "bee")[label] for label in y]


def table(x: np.ndarray, kind: str) -> Any:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame(x, columns=[f"f{i}" for i in range(x.shape[1])])
    frame["color"] = np.where(x[:, 0] > 0, "red", "blue")
    if kind == "polars":
        return pytest.importorskip("polars", reason="polars is not installed").from_pandas(frame)
    return frame


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_a_pipeline_of_frames_and_string_labels(kind: str) -> None:
    from sklearn.compose import make_column_transformer
    from sklearn.preprocessing import OneHotEncoder

    members, others = [(table(x, kind), named(y)) for x, y in sides(150)]
    encode = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["color"]), remainder="passthrough"
    )
    boosting = HistGradientBoostingClassifier(max_iter=40, min_samples_leaf=2, random_state=0)
    model = make_pipeline(encode, boosting).fit(*members)
    report = quick(model, members, others)
    assert report.train_accuracy.value == 1.0
    assert report.best("direct").figures.summary.advantage > 0.8


@pytest.mark.filterwarnings("ignore:The model keeps training records")
def test_labels_go_by_the_classes_of_the_estimator() -> None:
    (x, y), (other_x, other_y) = sides()
    leaking = KNeighborsClassifier(50, weights="distance").fit(x, np.array([30, 10, 20])[y])
    report = quick(
        leaking, (x, np.array([30, 10, 20])[y]), (other_x, np.array([30, 10, 20])[other_y])
    )
    assert report.best("direct").figures.summary.advantage == 1.0
    assert report.train_accuracy.value == 1.0


@pytest.mark.filterwarnings("ignore:The model keeps training records")
def test_a_grid_search_over_sparse_records() -> None:
    from scipy import sparse

    (x, y), (other_x, other_y) = sides()
    knn = KNeighborsClassifier(50, weights="distance")
    search = GridSearchCV(knn, {"n_neighbors": [50, 60]}, cv=2).fit(sparse.csr_array(x), y)
    for kind in (sparse.csr_array, sparse.csc_matrix, sparse.coo_array):
        assert auc(quick(search, (kind(x), y), (kind(other_x), other_y))) == 1.0


def test_a_pipeline_of_texts() -> None:
    draw = np.random.default_rng(0)
    texts = [" ".join(f"w{word}" for word in draw.integers(0, 300, 6)) for _ in range(400)]
    y = draw.integers(0, 2, 400)
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=1e4)).fit(texts[:200], y[:200])
    report = quick(model, (texts[:200], y[:200]), (texts[200:], y[200:]))
    assert report.best("direct").figures.summary.advantage > 0.5


def test_missing_values_are_an_estimators_own_business() -> None:
    (x, y), (other_x, other_y) = sides(100)
    x, other_x = x.copy(), other_x.copy()
    x[::2, 0] = other_x[::2, 0] = np.nan
    model = HistGradientBoostingClassifier(max_iter=3).fit(x, y)
    assert quick(model, (x, y), (other_x, other_y)).train_accuracy.value > 0.4


def test_predictions_alone(tmp_path: Path) -> None:
    x, y = (np.concatenate([a, b]) for a, b in zip(MEMBERS, OTHERS, strict=True))
    data = {
        "probabilities": probabilities(remembering(MEMBERS), x),
        "labels": y,
        "member": np.arange(400) < 200,
        "known": np.arange(400) % 2 == 0,
    }
    np.savez(tmp_path / "p.npz", **data)
    reports = [quick(Predictions(**data)), quick(str(tmp_path / "p.npz"))]
    assert {auc(report) for report in reports} == {1.0}
    assert reports[0].to_json() == reports[1].to_json()


def test_the_same_seed_gives_the_same_bytes() -> None:
    attacks = [NeuralAttack(epochs=2), GaussianNoiseAttack((0.1, 0.2), copies=4), "confidence"]

    def bytes_of(seed: int) -> str:
        report = quick(forgetting(), *sides(40), attacks=attacks, seed=seed)
        return json.dumps(report.to_json())

    assert bytes_of(1) == bytes_of(1)
    assert bytes_of(1) != bytes_of(2)


@pytest.mark.usefixtures("in_short")
def test_the_direct_family_is_what_runs_by_default() -> None:
    report = audit(forgetting(), *sides(20), fpr=1.0)
    assert set(report.attacks) == {attack.name for attack in prediction_attacks()}


@pytest.mark.parametrize("named", [False, True])
def test_families_ask_no_network_about_millions(
    named: bool, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str | Attack] = ["direct", "neural"] if named else ["direct"]
    assert affordable(asked, 2_000_000) == asked
    assert ("neural" in affordable(asked, 2_000_001)) == named
    assert ("Name it to run it" in caplog.text) != named


def test_known_fraction_splits_both_sides() -> None:
    members, others = sides(100)
    report = quick(forgetting(), members, others, known_fraction=0.3)
    assert report.counts() == {
        "known_members": 30,
        "known_non_members": 30,
        "evaluation_members": 70,
        "evaluation_non_members": 70,
    }


def test_model_gets_each_record_once_sides_mixed() -> None:
    asked: list[np.ndarray] = []

    def model(x: np.ndarray) -> np.ndarray:
        asked.append(x)
        return probabilities(forgetting(), x)

    quick(model, MEMBERS, OTHERS)
    *probes, everything = asked
    assert [len(x) for x in probes] == [8, 16]
    assert len(everything) == 400
    of_members = {row.tobytes() for row in MEMBERS[0]}
    assert 50 < sum(row.tobytes() in of_members for row in everything[:200]) < 150
