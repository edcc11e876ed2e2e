"""Networks of skorch, which take neither weights nor seeds, as what is protected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from selena.seeding import numpy_generator, seeded
from selena.sklearn import MemGuardClassifier, SelenaClassifier, SplitAIClassifier

skorch = pytest.importorskip("skorch", reason="skorch is not installed")


def network() -> Any:
    return skorch.NeuralNetClassifier(
        nn.Linear,
        module__in_features=4,
        module__out_features=3,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.05,
        max_epochs=8,
        train_split=None,
        verbose=0,
    )


@pytest.mark.usefixtures("short_walks")
@pytest.mark.parametrize(
    "model",
    [
        SelenaClassifier(network(), n_submodels=3, n_nonmodels=1, random_state=0),
        SplitAIClassifier(network(), n_submodels=3, n_nonmodels=1, random_state=0),
        MemGuardClassifier(network(), epochs=2, random_state=0),
    ],
    ids=lambda m: type(m).__name__,
)
def test_a_skorch_net_is_protected(model: Any) -> None:
    rng = numpy_generator(0, "skorch")
    y = rng.integers(0, 3, 150)
    X = (2 * np.eye(4)[y] + rng.normal(size=(150, 4)) / 2).astype(np.float32)
    with seeded(0, "skorch"):  # skorch draws from PyTorch's global generator
        model.fit(X, y)
    assert model.predict_proba(X).shape == (150, 3)
    assert model.score(X, y) > 0.9
