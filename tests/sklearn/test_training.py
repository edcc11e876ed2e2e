"""An estimator's training, repeated by attacks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Perceptron

import selena
from selena.fingerprint import fingerprint
from selena.sklearn.training import EstimatorTraining
from selena.types import Records
from tests.toys import CLASSES, toy_records

TRAIN, OTHERS = toy_records(60), toy_records(60, seed=1, start=100)


def test_a_copy_is_fitted_and_answers_as_it_would_itself() -> None:
    forest = RandomForestClassifier(n_estimators=5)
    training = EstimatorTraining(forest)
    fitted = training.fit(TRAIN, OTHERS, seed=3)
    proba = fitted.logits(OTHERS.x).exp()
    np.testing.assert_allclose(proba, fitted.fitted.predict_proba(OTHERS.x.numpy()))
    assert torch.equal(proba, training.fit(TRAIN, OTHERS, seed=3).logits(OTHERS.x).exp())
    assert not torch.equal(proba, training.fit(TRAIN, OTHERS, seed=4).logits(OTHERS.x).exp())


@pytest.mark.parametrize("kept", [1, CLASSES - 1])
def test_classes_that_it_never_saw_have_probability_0(kept: int) -> None:
    few = TRAIN.take(TRAIN.y < kept)
    fitted = EstimatorTraining(RandomForestClassifier(n_estimators=5)).fit(few, OTHERS, seed=0)
    proba = fitted.logits(OTHERS.x).exp()
    assert proba.shape == (60, fitted.num_classes) == (60, CLASSES)
    assert float(proba[:, kept:].max()) == 0
    torch.testing.assert_close(proba.sum(dim=1), torch.ones(60, dtype=torch.float64))


def test_a_fitted_estimator_is_told_by_its_parameters_and_stays_fitted() -> None:
    forest = RandomForestClassifier(n_estimators=5, random_state=0)
    before = fingerprint(EstimatorTraining(forest))
    forest.fit(TRAIN.x.numpy(), TRAIN.y.numpy())
    training = EstimatorTraining(forest)
    training.fit(OTHERS, TRAIN, seed=0)
    assert forest.n_classes_ == CLASSES
    assert fingerprint(training) == before
    deeper = RandomForestClassifier(n_estimators=5, random_state=0, max_depth=3)
    assert fingerprint(EstimatorTraining(deeper)) != before


def test_what_gives_no_probabilities_is_refused() -> None:
    with pytest.raises(ValueError, match="predict_proba"):
        EstimatorTraining(Perceptron())


@pytest.mark.filterwarnings("ignore::selena.anymodel.AuditWarning")
def test_reference_models_find_a_forests_members() -> None:
    def pair(records: Records) -> tuple[np.ndarray, np.ndarray]:
        return records.x.numpy(), records.y.numpy()

    members, others = toy_records(150, seed=2), toy_records(150, seed=3)
    forest = RandomForestClassifier(n_estimators=40, random_state=0).fit(*pair(members))
    attack = selena.ReferenceModelAttack(EstimatorTraining(forest), "rmia", runs=8)
    report = selena.audit(
        forest, pair(members), pair(others), attacks=["confidence", attack], seed=0
    )
    auc = {name: each.variants["global"].summary.auc for name, each in report.attacks.items()}
    assert auc["rmia"] > auc["confidence"] + 0.1
