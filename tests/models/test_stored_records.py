from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, RadiusNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from torch import Tensor, nn

import selena
from selena import AuditWarning, audit
from selena.errors import DataError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 5)), np.arange(40) % 2
OTHERS = RNG.normal(size=(30, 5))
NEIGHBORS = KNeighborsClassifier(3)


@pytest.mark.parametrize(
    "model",
    [
        NEIGHBORS,
        KNeighborsClassifier(3, algorithm="kd_tree"),
        RadiusNeighborsClassifier(9.0),
        SVC(),
        GaussianProcessClassifier(),
        make_pipeline(StandardScaler(), NEIGHBORS),
        make_pipeline(StandardScaler(), StandardScaler(), SVC()),
        GridSearchCV(NEIGHBORS, {"n_neighbors": [1, 3]}, cv=2),
        BaggingClassifier(NEIGHBORS, 2, max_features=3),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_model_with_its_records_fails(model: Any) -> None:
    """With the records, and without: kinds that keep rows are known."""
    model.fit(X, Y)
    with_records, by_kind = (selena.find_stored_records(model, each) for each in (X, None))
    assert not with_records.passes
    assert not by_kind.passes
    assert all(part.by_kind for part in by_kind.parts)
    assert by_kind.found is None
    assert "Do not release it" in str(by_kind)
    columns_left_out = isinstance(model, BaggingClassifier)
    assert columns_left_out or with_records.found
    # What is found is found in this model, and not in any.
    assert selena.find_stored_records(model, OTHERS).found == 0


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        RandomForestClassifier(5, random_state=0),
        GaussianNB(),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_model_without_records_passes(model: Any) -> None:
    report = selena.find_stored_records(model.fit(X, Y), X)
    assert report.passes
    assert (report.records, report.found) == (40, 0)
    assert "passes" in str(report)


def test_all_rows_of_neighbors_are_counted() -> None:
    report = selena.find_stored_records(NEIGHBORS.fit(X, Y), X[:7])
    part = next(part for part in report.parts if part.where == "_fit_X")
    assert (part.rows, part.equal, report.found) == (40, 7, 7)


def test_sparse_frames_and_text_columns() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    hot = sparse.csr_matrix((RNG.random((40, 6)) < 0.4).astype(float))
    model = KNeighborsClassifier(3).fit(hot, Y)
    rows = int((np.ptp(hot.toarray(), axis=1) > 0).sum())
    assert selena.find_stored_records(model, hot).found == rows
    frame = pandas.DataFrame({"a": X[:, 0], "town": [f"t{i % 3}" for i in range(40)]})
    encode = make_column_transformer((OneHotEncoder(), ["town"]), remainder="passthrough")
    pipeline = make_pipeline(encode, KNeighborsClassifier(3)).fit(frame, Y)
    report = selena.find_stored_records(pipeline, frame)
    assert report.found == 40
    assert any(part.where.startswith("steps[1][1]") for part in report.parts)


def test_class_mean_of_a_single_record_is_found() -> None:
    labels = np.zeros(40, dtype=int)
    labels[11] = 1
    report = selena.find_stored_records(GaussianNB().fit(X, labels), X)
    assert report.found == 1
    assert [part.where for part in report.parts] == ["theta_"]


class Memory(nn.Module):
    """A network that keeps a record in a buffer of images, two layers down."""

    def __init__(self, rows: torch.Tensor) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
        self.body.register_buffer("bank", rows)


def test_buffers_of_a_network_are_looked_at() -> None:
    images = torch.rand(6, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    report = selena.find_stored_records(Memory(images[2:4].clone()), images)
    assert report.found == 2
    assert [part.where for part in report.parts] == ["body.bank"]
    assert not report.parts[0].by_kind
    assert selena.find_stored_records(Memory(torch.zeros(2, 12)), images).passes
    assert selena.find_stored_records(Memory(images[:0]).body, torch.zeros(4, 12)).passes


def test_records_hidden_in_attributes_are_found() -> None:
    class Own:
        def __init__(self) -> None:
            self.cache = {"last": [(X[3:5].astype(np.float32), "why")]}
            self.me = self

    report = selena.find_stored_records(Own(), X.tolist())
    assert report.found == 2
    assert report.parts[0].where == "cache['last'][0][0]"


def test_no_records_are_an_error() -> None:
    with pytest.raises(DataError, match="no records"):
        selena.find_stored_records(NEIGHBORS, X[:0])


def test_an_audit_warns_of_records_in_the_model() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 4)), np.arange(80) % 2
    sides = (x[:40], y[:40]), (x[40:], y[40:])
    nearest = make_pipeline(StandardScaler(), KNeighborsClassifier(3)).fit(*sides[0])
    with pytest.warns(AuditWarning, match=r"_fit_X of KNeighborsClassifier holds 40 rows"):
        audit(nearest, *sides, attacks="confidence", fpr=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        audit(LogisticRegression().fit(*sides[0]), *sides, attacks="confidence", fpr=1.0)


@pytest.mark.filterwarnings("ignore:The model keeps training records")
@pytest.mark.parametrize("model", [NEIGHBORS, LogisticRegression()], ids=["kept", "not"])
def test_a_saved_audit_says_what_is_stored(model: Any, tmp_path: Path) -> None:
    members, others = (X, Y), (OTHERS, np.arange(30) % 2)
    report = audit(model.fit(*members), members, others, attacks="confidence", fpr=1.0)
    assert report.stored_records == selena.find_stored_records(model, X)
    loaded = selena.AuditReport.load(report.save(tmp_path / "r.selena"))
    assert loaded.stored_records == report.stored_records
    assert ("Do not release it" in str(loaded)) == (model is NEIGHBORS)


def test_a_network_that_keeps_its_members_is_named() -> None:
    class Memory(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kept = nn.Parameter(torch.from_numpy(X[3:5]).float())

        def forward(self, x: Tensor) -> Tensor:
            return x.float() @ self.kept.T

    sides = (X, Y), (OTHERS, np.arange(30) % 2)
    with pytest.warns(AuditWarning, match="kept of Memory holds 2 rows"):
        report = audit(Memory(), *sides, output="logits", attacks="confidence", fpr=1.0)
    assert report.stored_records is not None
    assert report.stored_records.found == 2


@pytest.mark.parametrize("common", [True, False], ids=["common", "members alone"])
def test_rows_that_non_members_have_are_no_evidence(common: bool) -> None:
    """A constant of the network equals a row of members: of both sides, it says nothing."""

    class Basis(nn.Module):
        basis: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("basis", torch.eye(3))

        def forward(self, x: Tensor) -> Tensor:
            return x.float() @ self.basis

    x, other = (RNG.normal(size=(40, 3)) for _ in range(2))
    x[0] = [1.0, 0.0, 0.0]
    if common:
        other[0] = x[0]
    y = np.arange(40) % 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AuditWarning)
        sides = (x, y), (other, 1 - y)  # the other label: equal records are refused
        report = audit(Basis(), *sides, output="logits", attacks="confidence", fpr=1.0)
    assert report.stored_records is not None
    assert report.stored_records.passes == common


def test_what_no_file_holds_is_not_looked_at() -> None:
    """Lightning's modules leave their trainer out of files, and with it the training data."""

    class Trained(nn.Linear):
        trainer: Any = None
        kept: Any = None

        def __getstate__(self) -> dict[str, Any]:
            return vars(self) | {"trainer": None}

    network = Trained(5, 2)
    network.trainer = [X]
    assert selena.find_stored_records(network, X).passes
    network.kept = [X]
    (part,) = selena.find_stored_records(network, X).parts
    assert part.where == "kept[0]"


def test_what_a_pickle_adds_is_inspected_too() -> None:
    class Packed:
        def __init__(self) -> None:
            self.rows = X

        def __getstate__(self) -> dict[str, Any]:
            return {"packed": [self.rows]}

    class Reduced(Packed):
        def __reduce__(self) -> tuple[Any, ...]:
            return Reduced, (), {"rows": self.rows}

        def __getstate__(self) -> dict[str, Any]:
            return {}

    for kind, where in ((Packed, "packed[0]"), (Reduced, "rows")):
        (part,) = selena.find_stored_records(kind(), X).parts
        assert part.where == where


def test_an_auditable_classifier_stores_no_records() -> None:
    auditable = selena.AuditableClassifier(LogisticRegression()).fit(X, Y)
    assert selena.find_stored_records(auditable, X).passes  # no pickle of it holds its records
