"""Reprs fit on a screen, whatever the size and the names of what they stand for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import nn

import selena
from selena.content.keyed import ContentIndex
from selena.content.non_model_sets import NonModelSets
from selena.defenses import NoiseSearch
from selena.defenses.dp_sgd import DPModel
from selena.defenses.hamp import HAMPModel
from selena.defenses.memguard import MemGuardModel
from selena.defenses.output_filters import TopKModel
from selena.defenses.split_ai import SplitAIModel
from selena.sklearn.training import FittedEstimator
from selena.training.model import NetworkModel
from tests.auditing.synthetic import attack, levels, report

LONG = "a rather long name " * 20
RECORDS = selena.Records(
    torch.zeros(1_000, 60), torch.zeros(1_000, dtype=torch.int64), torch.arange(1_000)
)
DATASET = selena.Dataset(
    LONG,
    RECORDS,
    num_classes=100,
    features="continuous",
    recipe="tabular",
    n_members=300,
    source="made up",
    synthetic=True,
    member_pool=torch.ones(1_000, dtype=torch.bool),
    class_names=(LONG,) * 100,
)
SPLIT = selena.audit_split(replace(DATASET, num_classes=1))
SETS = NonModelSets.pack(torch.arange(25).expand(1_000, 25) < 10)
NETWORK = NetworkModel(nn.Sequential(*(nn.Linear(60, 60) for _ in range(20))), 100)
INDEX = ContentIndex(torch.zeros(1_000, 16, dtype=torch.uint8), 2**60)
LEAK = levels([0, 400, 550, 50], [0, 600, 395, 5])
REPORT = report(attack(LONG, LEAK, canaries=LEAK))
PREDICTIONS = selena.Predictions(
    np.full((1_000, 100), 0.01),
    np.zeros(1_000, int),
    np.arange(1_000) % 2 == 0,
    np.arange(1_000) < 500,
)


@pytest.mark.parametrize(
    ("shown", "tells"),
    [
        (RECORDS, "Records(1,000 of shape (60,), float32)"),
        (DATASET, "100 classes"),
        (SPLIT.known, "members=Records(150"),
        (SPLIT, "known_members=150"),
        (SETS, "NonModelSets(1,000 records, K=25, L=10)"),
        (PREDICTIONS, "1,000 records, 100 classes; 500 are members, 500 are known"),
        (NETWORK, "73,200 weights, 100 classes"),
        (SplitAIModel([NETWORK.network] * 25, SETS, INDEX, 100), "K=25, L=10"),
        (DPModel(NETWORK, 1.0, 1e-5), "epsilon=1.0"),
        (TopKModel(NETWORK, 3), "k=3"),
        (HAMPModel(NETWORK, torch.zeros(1_000, 100), 2**60), "NetworkModel"),
        (MemGuardModel(NETWORK, nn.Linear(9, 9), NoiseSearch(), None, 2**60), "budget=None"),
        (FittedEstimator(RandomForestClassifier(), 100), "RandomForestClassifier"),
        (REPORT, "attack accuracy 60.0 %"),
        (REPORT.auc, "auc="),
        (REPORT.attacks[LONG], "direct, AUC"),
        (selena.compare({f"{LONG} {i}": REPORT for i in range(9)}), "9 audits"),
    ],
    ids=lambda each: type(each).__name__ if not isinstance(each, str) else "",
)
def test_repr_is_short_and_tells_what_matters(shown: Any, tells: str) -> None:
    assert tells in repr(shown)
    assert len(repr(shown)) < 200
    assert "\n" not in repr(shown)


def test_secret_keys_are_not_shown() -> None:
    for model in (
        HAMPModel(NETWORK, torch.zeros(1_000, 100), 2**60),
        MemGuardModel(NETWORK, nn.Linear(9, 9), NoiseSearch(), None, 2**60),
        SplitAIModel([NETWORK.network] * 25, SETS, INDEX, 100),
    ):
        assert str(2**60) not in repr(model)


def test_a_comparison_is_shown_in_notebooks() -> None:
    shown = selena.compare({"<b>mine": REPORT})._repr_html_()
    assert "&lt;b&gt;mine" in shown
    assert "<b>" not in shown
