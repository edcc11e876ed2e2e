"""This library's fully connected network as a scikit-learn classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from threading import Lock
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float64
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    check_scalar,
    validate_data,
)
from torch import Tensor, nn

from selena.data.checks import are_probabilities
from selena.errors import ConfigError
from selena.networks.mlp import MLP
from selena.sklearn.base import Probabilities, ProbabilityClassifier
from selena.sklearn.checks import Weights, check_training, check_weights
from selena.training.batches import in_chunks
from selena.training.engine import fit_networks
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
from selena.workspace import Workspace, check_device

_CHUNK = 4096
_CHECKS = {"dtype": np.float32, "accept_sparse": "csr"}
# The number of threads is a setting of the process, or of the thread that set it, so networks train
# one at a time.
_TRAINING = Lock()


class TorchClassifier(ProbabilityClassifier):
    """A fully connected network that learns labels or soft labels.

    It is the network of Tang et al., USENIX Security 2022, Section 5.1, at a size for tables,
    trained by Adam on cross-entropy. As the student of `SelenaClassifier` it minimises the
    distillation loss of Section 4.2.

    Args:
        hidden: widths of the hidden layers; the paper's are 1024, 512, 256, 128.
        activation: "tanh" (the paper's) or "relu".
        standardize: whether the network normalises features by the statistics of its training
            records.
        epochs: passes over the records, at least 1.
        batch_size: records per step, at least 2.
        learning_rate: learning rate of Adam, > 0.
        weight_decay: L2 penalty, at least 0.
        device: where PyTorch trains: "cpu", "cuda", ...
        random_state: int, `RandomState` or None, for weights and order of records. One number gives
            the same network regardless of other threads or processes: on a processor it trains
            on one thread.

    Attributes:
        classes_: the c labels, sorted.
        network_: the trained network, from n x d features to n x c logits,
            in float64 on the CPU.
        n_features_in_: number of features.
        feature_names_in_: their names, if the records were a data frame.
    """

    network_: nn.Module

    def __init__(
        self,
        hidden: Sequence[int] = (256, 128),
        *,
        activation: Literal["tanh", "relu"] = "tanh",
        standardize: bool = True,
        epochs: int = 30,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        device: str = "cpu",
        random_state: Any = None,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.standardize = standardize
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TorchClassifier:
        """Train on labels.

        Args:
            X: n x d finite numbers within the range of float32; a sparse matrix is made dense,
                with 4 n d bytes.
            y: n labels of at least two classes.
            sample_weight: n weights, at least 0, or None; they scale each record's loss.

        Raises:
            ConfigError: fewer than two classes, weights that are all 0, an unknown activation, or
                a setting out of range.
            TrainingError: a loss that is no longer finite.
        """
        X, y, weight, _ = check_training(self, X, y, sample_weight, **_CHECKS)
        return self._train(X, np.eye(len(self.classes_))[np.searchsorted(self.classes_, y)], weight)

    def fit_soft(
        self, X: Any, soft: Any, *, classes: Any = None, sample_weight: Any = None
    ) -> TorchClassifier:
        """Train on soft labels.

        Args:
            X: n x d finite numbers within the range of float32.
            soft: n x c probabilities; rows sum to 1.
            classes: the c labels, sorted; None for 0 to c - 1.
            sample_weight: n weights, at least 0, or None; they scale each record's loss.

        Raises:
            ConfigError: `soft` is no table of probabilities of c >= 2 classes, or see `fit`.
            TrainingError: a loss that is no longer finite.
        """
        X = validate_data(self, X, **_CHECKS)
        soft = check_array(soft, dtype=np.float64, ensure_min_features=2, input_name="soft")
        check_consistent_length(X, soft)
        if not are_probabilities(soft).all():
            raise ConfigError("soft: every row must be probabilities, >= 0 and of sum 1.")
        self.classes_ = np.arange(soft.shape[1]) if classes is None else np.asarray(classes)
        if len(self.classes_) != soft.shape[1] or (self.classes_[1:] <= self.classes_[:-1]).any():
            raise ConfigError(
                f"classes must be {soft.shape[1]} sorted labels, one per column of soft; "
                f"got {self.classes_!r}."
            )
        weight = None if sample_weight is None else check_weights(sample_weight, X)
        return self._train(X, soft, weight)

    def predict_proba(self, X: Any) -> Probabilities:
        """Return the softmax of the network's logits.

        Args:
            X: n x d features.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, **_CHECKS)
        with torch.no_grad():
            parts = [
                self.network_(_tensor(X[part]).double()).softmax(dim=1)
                for part in in_chunks(X.shape[0], _CHUNK)
            ]
        proba: Probabilities = torch.cat(parts).numpy()
        return proba

    def _train(
        self,
        X: Any,
        soft: Float64[np.ndarray, "n c"],
        weight: Weights | None,
    ) -> TorchClassifier:
        """Minimise the mean over records of -sum(weight p log q), with weights of mean 1."""
        check_scalar(self.batch_size, "batch_size", Integral, min_val=2)
        check_scalar(self.epochs, "epochs", Integral, min_val=1)
        check_device(self.device)
        if weight is not None:
            soft = soft * (weight / weight.mean())[:, None]
        recipe = Recipe(
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            epochs=self.epochs,
            weight_decay=self.weight_decay,
            precision="float32",
        )
        factory = MLP(
            X.shape[1],
            soft.shape[1],
            hidden=tuple(self.hidden),
            activation=self.activation,
            standardize=self.standardize,
        )
        seed = int.from_bytes(check_random_state(self.random_state).bytes(8), "big")
        with _TRAINING, _one_thread():
            (network,) = fit_networks(
                factory,
                Examples(_tensor(X), _tensor(soft)),
                [Job("network", torch.arange(len(soft)), seed)],
                recipe,
                workspace=Workspace(device=self.device),
            )
        # In float64, because float32 products of one row and of many rows differ in digits that a
        # comparison of answers would see.
        self.network_ = network.cpu().double()
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread, since rounding depends on the number, which differs in pools."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _tensor(array: Any) -> Tensor:
    dense = array if isinstance(array, np.ndarray) else array.toarray()
    # A copy, because PyTorch warns about read-only arrays.
    return torch.from_numpy(np.array(dense, dtype=np.float32))
