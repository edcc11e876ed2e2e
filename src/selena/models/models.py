"""Wraps every kind of model as one class, which is asked about records in their container."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from selena.errors import ConfigError
from selena.models.answers import Output
from selena.models.network import dense_tensor, load_network, network_answers, on_loan
from selena.models.onnx_file import open_onnx
from selena.types import TargetModel

_WEIGHTS = ".safetensors"
_PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".joblib", ".ckpt", ".bin")


@dataclass(frozen=True, eq=False)
class Model:
    """A model that can be asked.

    Attributes:
        what: what messages call it.
        ask: maps records, in the container they were given in, to answers.
        default: what this kind of model usually returns, logits or probabilities.
        names: names of its classes in the order of its columns, if it tells them.
        num_classes: number of classes, if it tells it.
        predict: maps records to labels, if the model predicts labels besides its answers.
        any_sum: whether its probabilities may have any sum (one model per class).
        missing: whether it may take missing values (NaN).
        network: the network behind it, whose gradients an attacker could read.
        target: the model itself, if it is a target model of this library.
        function: whether it is a function, which may ask a server, fail, and cost money.
        batch_size: most records per call, if the model has such a limit.
    """

    what: str
    ask: Callable[[Any], Any]
    default: Output
    names: Sequence[Any] | None = None
    num_classes: int | None = None
    predict: Callable[[Any], Any] | None = None
    any_sum: bool = False
    missing: bool = False
    network: nn.Module | None = None
    target: TargetModel | None = None
    function: bool = False
    batch_size: int | None = None


@contextmanager
def opened(
    model: object, *, factory: Callable[[], nn.Module] | None, device: str
) -> Iterator[Model]:
    """Yield `model` ready to be asked; a network moves to `device` and is restored afterwards.

    Raises:
        ConfigError: an object that is no model, or a missing factory or package.
        DataError: a file that is absent, damaged or of another architecture.
    """
    if factory is not None and not (isinstance(model, str | Path) and _suffix(model) == _WEIGHTS):
        raise ConfigError("factory builds the network of a .safetensors file; leave it out here.")
    if isinstance(model, str | Path):
        path = Path(model).expanduser()
        if _suffix(path) == _WEIGHTS:
            model = load_network(path, factory)
        else:
            yield _from_file(path, device)
            return
    if isinstance(model, nn.Module):
        with on_loan(model, device) as network:
            yield Model(
                f"The network {type(model).__name__}",
                lambda x: network_answers(network, x, device),
                "logits",
                network=network,
            )
        return
    yield _from_object(model)


def _suffix(path: str | Path) -> str:
    return Path(path).suffix.lower()


def _from_file(path: Path, device: str) -> Model:
    if _suffix(path) == ".onnx":
        return Model(f"The model {path.name}", open_onnx(path, device), "logits")
    if _suffix(path) in _PICKLED:
        raise ConfigError(
            f"{path} is a pickle, which may run any code: it is never loaded. Load it yourself and "
            "pass the model, or save its weights as .safetensors."
        )
    raise ConfigError(
        f"{path}: unknown kind of model {path.suffix!r}. Known: .onnx, .safetensors, and "
        "predictions as .npz, .csv or .parquet."
    )


def _from_object(model: object) -> Model:
    name = type(model).__name__
    if isinstance(model, type):
        raise ConfigError(f"{model.__name__} is a class; pass a fitted model of it.")
    if isinstance(model, TargetModel):
        return Model(
            f"The target model {name}",
            lambda x: model.logits(dense_tensor(x, "A target model")),
            "logits",
            num_classes=model.num_classes,
            target=model,
        )
    if hasattr(model, "predict_proba") or (hasattr(model, "fit") and not callable(model)):
        return _estimator(model)
    if callable(model):
        # An object that can be both fitted and called (a Keras network) is called.
        kind = "model" if hasattr(model, "fit") else "function"
        what = f"The {kind} {getattr(model, '__name__', name)}"
        return Model(what, model, "probabilities", missing=True, function=True)
    raise ConfigError(
        f"A {name} is no model that can be asked. Pass a function of x that returns n x classes "
        "probabilities, an nn.Module, a scikit-learn classifier, a path to .onnx or .safetensors, "
        "or predictions."
    )


def _estimator(model: Any) -> Model:
    name = type(model).__name__
    if _is_regressor(model):
        raise ConfigError(
            f"{name} is a regressor. Pass its predictions and the true values to "
            "selena.audit_regression."
        )
    if not hasattr(model, "classes_"):
        raise ConfigError(
            f"The estimator {name} is not fitted, or no classifier: it has no classes_. Fit it, or "
            "pass a function of x that returns n x classes probabilities."
        )
    if not hasattr(model, "predict_proba"):
        raise ConfigError(
            f"The estimator {name} has no predict_proba. Fit it inside CalibratedClassifierCV, or "
            "pass a function that returns probabilities."
        )
    names = list(model.classes_)
    if any(hasattr(each, "__len__") and not isinstance(each, str) for each in names):
        raise ConfigError(
            f"The estimator {name} has several outputs. Pass their probabilities to "
            "selena.audit_multilabel, or wrap one in a function."
        )
    predict = getattr(model, "predict", None)
    return Model(
        f"The estimator {name}",
        lambda x: model.predict_proba(_as_array(x)),
        "probabilities",
        names=[each.item() if hasattr(each, "item") else each for each in names],
        num_classes=len(names),
        predict=None if predict is None else lambda x: predict(_as_array(x)),
        any_sum=True,
        missing=True,
    )


def _is_regressor(model: Any) -> bool:
    from sklearn.base import is_regressor

    try:
        return bool(is_regressor(model))
    except (AttributeError, TypeError):  # no estimator of scikit-learn
        return False


def _as_array(x: Any) -> Any:
    return x.numpy() if isinstance(x, Tensor) else x
