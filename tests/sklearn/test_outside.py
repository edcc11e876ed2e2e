"""A warning where preprocessing was fitted on all records before the protection began."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from selena.errors import AuditWarning
from selena.sklearn import SplitAIClassifier
from selena.sklearn.outside import warn_of_outside

RAW = np.random.default_rng(0).normal(5, 3, size=(60, 4))
TEXTS = [f"word{i % 7} word{i % 11} word{i % 3}" for i in range(60)]


@pytest.mark.parametrize(
    ("X", "step"),
    [
        (StandardScaler().fit_transform(RAW), "StandardScaler"),
        (StandardScaler().fit_transform(RAW).astype(np.float32).astype(np.float64), "Standard"),
        (MinMaxScaler().fit_transform(RAW), "MinMaxScaler"),
        (TfidfVectorizer().fit_transform(TEXTS), "TfidfVectorizer"),
    ],
    ids=["standard", "rounded", "range", "tf-idf"],
)
def test_traces_of_a_step_are_warned_of(X: Any, step: str) -> None:
    with pytest.warns(AuditWarning, match=step):
        warn_of_outside(X)


@pytest.mark.parametrize(
    "X",
    [
        RAW,
        StandardScaler().fit(RAW[:40]).transform(RAW),
        StandardScaler().fit_transform(RAW)[:50],
        np.eye(3)[np.arange(60) % 3],
        CountVectorizer().fit_transform(TEXTS),
        sparse.csr_array(np.eye(60)),
        TEXTS,
        StandardScaler().fit_transform(RAW[:10]),
        RAW[:, :1] - RAW[:, :1].mean(),
    ],
    ids=["raw", "other", "part", "one-hot", "counts", "unit", "texts", "few", "centred"],
)
def test_nothing_else_is_warned_of(X: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_outside(X)


def test_a_fit_warns_once_and_not_inside_a_pipeline() -> None:
    y = np.arange(60) % 2
    outside = SplitAIClassifier(LogisticRegression(), n_submodels=3, n_nonmodels=1)
    with pytest.warns(AuditWarning) as caught:
        outside.fit(StandardScaler().fit_transform(RAW), y)
    assert len(caught) == 1
    inside = make_pipeline(StandardScaler(), LogisticRegression())
    SplitAIClassifier(inside, n_submodels=3, n_nonmodels=1).fit(RAW, y)
