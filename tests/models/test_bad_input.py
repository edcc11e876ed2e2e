"""What cannot be audited is refused with its name and the fix, before minutes are spent."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from torch import Tensor, nn

from selena.auditing.predictions import Predictions
from selena.errors import ConfigError, DataError
from selena.models import AuditWarning, audit, shared_rows
from selena.workspace import Workspace
from tests.models.memory import (
    CLASSES,
    Pair,
    forgetting,
    probabilities,
    quick,
    remembering,
    sides,
)

MEMBERS, OTHERS = sides(120)
NETWORK = forgetting()


def function(x: np.ndarray) -> np.ndarray:
    return probabilities(NETWORK, x)


def changed(pair: Pair, row: int, value: Any, what: str = "x") -> Pair:
    x, y = (np.array(each, copy=True) for each in pair)
    (x if what == "x" else y)[row] = value
    return x, y


def test_records_on_both_sides_are_counted_and_named() -> None:
    x, y = OTHERS[0].copy(), OTHERS[1].copy()
    x[[5, 9]], y[[5, 9]] = MEMBERS[0][[7, 3]], MEMBERS[1][[7, 3]]
    with pytest.raises(
        DataError, match=r"2 of the 120.*-member 5 equals member 7.*deduplicate=True"
    ):
        quick(function, MEMBERS, (x, y))
    rows = shared_rows(MEMBERS, (x, y))
    assert rows.tolist() == [5, 9]
    quick(function, MEMBERS, (np.delete(x, rows, axis=0), np.delete(y, rows)))


def test_device_of_the_workspace_is_used() -> None:
    with pytest.raises(ConfigError, match="device='gpu' cannot be used here"):
        audit(lambda x: x, *sides(40), workspace=Workspace(device="gpu"))
    with pytest.raises(ConfigError, match="device='tpu' cannot be used here"):
        audit(lambda x: x, *sides(40), device="tpu", workspace=Workspace(device="gpu"))


def test_label_is_part_of_a_record() -> None:
    x, y = OTHERS[0].copy(), OTHERS[1].copy()
    x[5], y[5] = MEMBERS[0][7], (MEMBERS[1][7] + 1) % CLASSES
    assert shared_rows(MEMBERS, (x, y)).tolist() == []
    y[5] = MEMBERS[1][7]
    assert shared_rows(MEMBERS, (x, y.astype(float))).tolist() == [5]  # 1 is 1.0


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("members", "others", "message"),
    [
        ((MEMBERS[0], MEMBERS[1][:5]), OTHERS, "members: shapes disagree: 120 records.*5"),
        (MEMBERS[0], OTHERS, "members must be a pair"),
        (MEMBERS, (OTHERS[0][:, :3], OTHERS[1]), "do not fit together.*12.*3"),
        (MEMBERS, (torch.from_numpy(OTHERS[0]), OTHERS[1]), "numpy.ndarray.*torch.Tensor"),
        (MEMBERS, (OTHERS[0][:0], OTHERS[1][:0]), "non_members: there are no records"),
        (MEMBERS, (iter([1]), [1]), "the features are a builtins"),
        (MEMBERS, (OTHERS[0][:2], OTHERS[1][:2]), "2 non-members are too few"),
        (MEMBERS, changed(OTHERS, 4, 7, "y"), "non-member 4 has the label 7.*0, 1, 2"),
        (changed(MEMBERS, 6, -1, "y"), OTHERS, "member 6 has the label -1"),
        ((MEMBERS[0], [[1], [0, 1]]), OTHERS, "no plain values"),
    ],
)
def test_bad_records(members: Any, others: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        quick(function, members, others)


def test_labels_that_the_estimator_does_not_know() -> None:
    model = LogisticRegression().fit(MEMBERS[0], np.array(["a", "b", "c"])[MEMBERS[1]])
    with pytest.raises(DataError, match=r"member 0 has the label .* no class of.*'a', 'b', 'c'"):
        quick(model, MEMBERS, OTHERS)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite(value: float) -> None:
    with pytest.raises(DataError, match=r"1 records hold NaN or infinite.*non-member 3"):
        quick(NETWORK, MEMBERS, changed(OTHERS, 3, value))
    if value == np.inf:
        with pytest.raises(DataError, match=r"1 records hold infinite.*member 3"):
            quick(function, changed(MEMBERS, 3, value), OTHERS)


def answering(values: Any) -> Any:
    """Return a function that answers every record so."""
    return lambda x: np.tile(np.asarray(values, dtype=float), (len(x), 1))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (answering([2.0, -1.0, 0.5]), r"look like logits: pass output='logits'"),
        (answering([0.9, 0.8, 0.1]), "divide each row by its sum; for several labels"),
        (answering([0.5, 0.5, np.nan]), "not finite.*member"),
        (answering([-7.0]), "output='logits'"),
        (lambda x: np.ones((3, 2)), r"answered 8 records with an array of shape \(3, 2\)"),
        (lambda x: np.ones((len(x), 2, 2)), "shape"),
        (lambda x: {"logits": x}, "a dict, not with an array"),
        (lambda x: x @ np.ones((5, 5)), "failed on 8 records in a ndarray of shape .8, 12."),
    ],
)
def test_answers_that_are_none(model: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        quick(model, MEMBERS, OTHERS)


def test_a_late_answer_that_is_none_names_its_record() -> None:
    def model(x: np.ndarray) -> np.ndarray:
        p = function(x)
        p[(x == MEMBERS[0][17]).all(axis=1)] = np.nan
        return p

    with pytest.raises(DataError, match="member 17"):
        quick(model, MEMBERS, OTHERS)


def test_more_columns_than_classes() -> None:
    with pytest.raises(DataError, match="3 classes; there are 4"):
        quick(function, MEMBERS, OTHERS, num_classes=4)


def test_logits_of_a_network_may_be_anything_but_nan() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.full((len(x), CLASSES), torch.nan)

    with pytest.raises(DataError, match="not finite"):
        quick(Broken(), MEMBERS, OTHERS)


def test_a_model_that_changes_its_mind_is_warned_of() -> None:
    draw = np.random.default_rng(0)

    def noisy(x: np.ndarray) -> np.ndarray:
        p = function(x) * draw.uniform(0.5, 1.5, (len(x), CLASSES))
        return np.asarray(p / p.sum(axis=1, keepdims=True))

    with pytest.warns(AuditWarning, match="8 of 8 records.*dropout"):
        quick(noisy, MEMBERS, OTHERS)

    def by_batch(x: np.ndarray) -> np.ndarray:
        return function((x - x.mean(axis=0)) / x.std(axis=0))

    with pytest.warns(AuditWarning, match="batch statistics"):
        quick(by_batch, MEMBERS, OTHERS)


def test_a_constant_model_is_warned_of() -> None:
    with pytest.warns(AuditWarning, match="all 240 records the same answer"):
        report = quick(answering([0.2, 0.3, 0.5]), MEMBERS, OTHERS)
    assert report.attacks["confidence"].variants["global"].summary.auc != 1.0


def test_too_few_records_for_the_fpr_warn() -> None:
    with pytest.warns(
        AuditWarning, match=r"60 members.*FPR of 0\.01.*0\.17.*at least 1000 of each"
    ):
        report = quick(function, MEMBERS, OTHERS, fpr=0.01)
    best = report.best("direct").figures.summary
    assert not best.tpr_at_fpr[0.01].resolved
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(function, MEMBERS, OTHERS, fpr=10 / 60 + 1e-9)
    predictions = Predictions(
        function(np.concatenate([MEMBERS[0], OTHERS[0]])),
        np.concatenate([MEMBERS[1], OTHERS[1]]),
        np.arange(240) < 120,
        np.arange(240) % 2 == 0,
    )
    with pytest.warns(AuditWarning, match="too few"):
        quick(predictions, fpr=0.01)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output": "scores"}, "output='scores'"),
        ({"fpr": 0.0}, "FPR of 0.0"),
        ({"known_fraction": 1.0}, "known_fraction is 1.0"),
        ({"attacks": ["confidance"]}, "Did you mean 'confidence'"),
        ({"attacks": []}, "No attack"),
        ({"attacks": [42]}, "42 is no attack"),
        ({"non_members": None}, "give members.*and non_members"),
        ({"factory": forgetting}, "leave it out"),
        ({"model": 42}, "A int is no model"),
        ({"model": LogisticRegression}, "LogisticRegression is a class"),
        ({"model": LogisticRegression()}, "not fitted"),
        ({"model": RidgeClassifier().fit(*MEMBERS)}, "CalibratedClassifierCV"),
        ({"model": "model.pt"}, "pickle"),
        ({"model": "model.h5"}, r"'\.h5'"),
        ({"model": "weights.safetensors"}, "Pass factory="),
        ({"model": "p.npz"}, "leave out members"),
    ],
)
def test_bad_settings(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"model": function, "members": MEMBERS, "non_members": OTHERS}
    with pytest.raises(ConfigError, match=message):
        quick(**{**good, **change})


def test_predictions_refuse_changed_records() -> None:
    predictions = Predictions(
        np.full((8, 2), 0.5),
        np.zeros(8, int),
        np.arange(8) % 2 == 0,
        np.arange(8) < 4,
    )
    with pytest.raises(ConfigError, match="gaussian_noise need more than predictions"):
        quick(predictions, attacks=["gaussian_noise"])


def test_bad_weights(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"

    def fails(factory: Any) -> str:
        with pytest.raises((DataError, ConfigError)) as caught:
            quick(path, MEMBERS, OTHERS, factory=factory)
        return str(caught.value)

    assert "no such file" in fails(forgetting)
    path.write_bytes(b"nothing")
    assert "a damaged one" in fails(forgetting)
    save_file(remembering(MEMBERS).state_dict(), path)
    message = fails(forgetting)
    assert str(path) in message
    assert "another architecture" in message
    assert "Missing key" in message
    assert "must build an nn.Module" in fails(dict)


def test_bad_onnx_files(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the onnx extra")
    onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
    path = tmp_path / "model.onnx"
    with pytest.raises(DataError, match="no such file"):
        quick(path, MEMBERS, OTHERS)
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match="no ONNX model"):
        quick(path, MEMBERS, OTHERS)
    kind = onnx.TensorProto.FLOAT
    a, b, c = (onnx.helper.make_tensor_value_info(name, kind, ["n", 3]) for name in "abc")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["a", "b"], ["c"])], "g", [a, b], [c]
    )
    version = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=version, ir_version=9), path)
    with pytest.raises(ConfigError, match=r"a: tensor.float., b: tensor"):
        quick(path, MEMBERS, OTHERS)


def test_integers_for_a_network_of_floats_name_the_fix() -> None:
    network = nn.Sequential(nn.Linear(4, 2))
    integers = [(np.arange(80).reshape(20, 4) + shift, np.arange(20) % 2) for shift in (0, 1000)]
    with pytest.raises(DataError, match=r"no features of type int64.*x\.astype\('float32'\)"):
        quick(network, *integers)
