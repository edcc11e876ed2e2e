"""Attacks that ask about changed records get tensors, and the model what it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from selena.attacks.boundary import BoundaryDistanceAttack
from selena.attacks.flip_noise import FlipNoiseAttack
from selena.attacks.gaussian_noise import GaussianNoiseAttack
from selena.attacks.signal_attack import ThresholdAttack
from selena.errors import AccessError, ConfigError
from selena.models import audit
from selena.training.model import NetworkModel
from selena.types import Attack, Needs
from tests.models.memory import CLASSES, Pair, forgetting, probabilities, remembering, sides

MEMBERS, OTHERS = sides(60)
FEW_COPIES = GaussianNoiseAttack((0.01, 0.1), copies=8)


def advantage(report: Any, name: str) -> float:
    return float(report.attacks[name].variants["global"].summary.advantage)


@pytest.mark.parametrize("kind", ["array", "list", "tensor", "pandas", "polars"])
def test_noise_reaches_the_model_in_its_container(kind: str) -> None:
    convert: dict[str, Callable[[np.ndarray], Any]] = {
        "array": lambda x: x,
        "list": np.ndarray.tolist,
        "tensor": torch.from_numpy,
        "pandas": lambda x: pytest.importorskip("pandas").DataFrame(
            x, columns=list("abcdefghijkl")
        ),
        "polars": lambda x: pytest.importorskip("polars").DataFrame(x, schema=list("abcdefghijkl")),
    }
    members, others = [(convert[kind](x), y) for x, y in (MEMBERS, OTHERS)]
    seen: set[tuple[type, Any]] = set()
    network = remembering(MEMBERS)

    def model(x: Any) -> np.ndarray:
        seen.add((type(x), str(getattr(x, "columns", getattr(x, "dtype", None)))))
        numbers = x.to_numpy() if hasattr(x, "columns") else np.asarray(x)
        return probabilities(network, numbers.astype(np.float32))

    report = audit(model, members, others, attacks=[FEW_COPIES, "confidence"], fpr=1.0)
    assert len(seen) == 1
    assert advantage(report, "confidence") == 1.0
    assert advantage(report, "gaussian_noise") > 0.4
    assert report.attacks["gaussian_noise"].queries_per_record > 8


def bits(n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(3)
    return draw.integers(0, 2, (n, 20)), draw.integers(0, 2, n)


@pytest.mark.parametrize("dtype", [np.int64, np.float32, bool])
def test_flipped_bits_keep_their_type(dtype: type) -> None:
    x, y = bits()
    x = x.astype(dtype)
    seen = set()

    def model(x: np.ndarray) -> np.ndarray:
        seen.add((x.dtype, *np.unique(x)))
        p = 0.5 + 0.4 * (x[:, 0] == 1)
        return np.stack([1 - p, p], axis=1)

    audit(
        model,
        (x[:60], y[:60]),
        (x[60:], y[60:]),
        attacks=[FlipNoiseAttack((1, 2), copies=8)],
        fpr=1.0,
    )
    assert seen == {(np.dtype(dtype), dtype(0), dtype(1))}


def test_noise_on_integers_keeps_frame_types() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    draw = np.random.default_rng(0)
    frame = pandas.DataFrame({"age": draw.integers(0, 90, 120), "income": draw.normal(size=120)})
    y = draw.integers(0, 2, 120)
    types = set()
    model = LogisticRegression().fit(frame[:60], y[:60])

    def watched(x: Any) -> np.ndarray:
        types.add(tuple(map(str, x.dtypes)))
        answers: np.ndarray = model.predict_proba(x)
        return answers

    attacks: list[str | Attack] = [GaussianNoiseAttack(0.1, copies=4), "confidence"]
    audit(watched, (frame[:60], y[:60]), (frame[60:], y[60:]), attacks=attacks, fpr=1.0)
    assert types == {("int64", "float64"), ("float64", "float64")}
    whole = frame.assign(income=np.arange(120))
    types.clear()
    audit(watched, (whole[:60], y[:60]), (whole[60:], y[60:]), attacks=attacks[1:], fpr=1.0)
    assert types == {("int64", "int64")}


@pytest.mark.parametrize("bytes_", [True, False])
def test_images_keep_their_units(bytes_: bool) -> None:
    draw = np.random.default_rng(0)
    x = draw.integers(0, 256, (80, 1, 4, 4)).astype(np.uint8)
    if not bytes_:
        x = (x / 255).astype(np.float32)
    y = draw.integers(0, 2, 80)
    highest = []

    def model(x: np.ndarray) -> np.ndarray:
        highest.append(float(x.max()))
        assert x.dtype == (np.uint8 if bytes_ else np.float32)
        p = 0.1 + 0.8 * x.reshape(len(x), -1).mean(axis=1) / (255 if bytes_ else 1)
        return np.stack([1 - p, p], axis=1)

    attacks: list[str | Attack] = ["augmentation", GaussianNoiseAttack(0.1, copies=4)]
    audit(model, (x[:40], y[:40]), (x[40:], y[40:]), attacks=attacks, fpr=1.0)
    assert min(highest) > (200 if bytes_ else 0.8)
    assert max(highest) <= (255 if bytes_ else 1)


def test_gradients_of_networks_and_of_nothing_else() -> None:
    attack = BoundaryDistanceAttack(steps=5, searches=1, low=-1.0, high=1.0)
    network = forgetting()
    for model in (network, NetworkModel(network, CLASSES)):
        report = audit(model, MEMBERS, OTHERS, attacks=[attack], fpr=1.0)
        assert report.attacks[attack.name].access == "gradient"
    with pytest.raises(AccessError, match="gradients"):
        audit(lambda x: probabilities(network, x), MEMBERS, OTHERS, attacks=[attack], fpr=1.0)


def images(shape: tuple[int, ...], low: float) -> Pair:
    draw = np.random.default_rng(0)
    return draw.uniform(low, 1, (20, *shape)).astype(np.float32), draw.integers(0, 2, 20)


def test_features_that_no_attack_can_change() -> None:
    from scipy import sparse

    def model(x: Any) -> np.ndarray:
        return np.tile([0.3, 0.7], (x.shape[0] if hasattr(x, "shape") else len(x), 1))

    def refused(x: Any, match: str, attack: Any = "gaussian_noise") -> None:
        y = np.arange(10) % 2
        pair = [(x[:10], y), (x[10:], y)]
        with pytest.raises(ConfigError, match=match):
            audit(model, *pair, attacks=["direct", attack], fpr=1.0)

    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    numbers = np.arange(40.0).reshape(20, 2)
    refused(pandas.DataFrame({"f": range(20), "color": ["red"] * 20}), "gaussian.*'color' holds")
    refused(sparse.csr_array(numbers), "sparse")
    refused([f"text {i}" for i in range(20)], "lists of unequal lengths")
    refused(images((4, 4, 3), 0)[0], "channels last")
    refused(images((3, 4, 4), -1)[0], "normalize")
    refused(numbers, "flip_noise needs binary", "flip_noise")


def test_an_attack_gets_features_if_it_needs_them() -> None:
    widths = []

    class Own(ThresholdAttack):
        needs: ClassVar[Needs] = "features"

        def fit(self, oracle: Any, known: Any, **rest: Any) -> Any:
            widths.append(known.members.x.shape[1])
            return super().fit(oracle, known, **rest)

    network = nn.Sequential(forgetting())
    audit(network, MEMBERS, OTHERS, attacks=[Own("entropy")], fpr=1.0)
    Own.needs = "predictions"
    audit(network, MEMBERS, OTHERS, attacks=[Own("entropy")], fpr=1.0)
    assert widths == [12, 1]  # features; numbers of answers
