"""An estimator's training, repeated by attacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import selena
from selena.attacks.reference_training import pool_of, train_reference_matrix
from selena.environment.fingerprint import fingerprint
from selena.errors import ConfigError, DataError
from selena.sklearn import SplitAIClassifier
from selena.sklearn.training import EstimatorTraining
from selena.types import MembershipSets, Records
from tests.toys import CLASSES, toy_records

TRAIN, OTHERS = toy_records(60), toy_records(60, seed=1, start=100)


def test_fitted_copy_answers_as_the_estimator() -> None:
    forest = RandomForestClassifier(n_estimators=5)
    training = EstimatorTraining(forest)
    fitted = training.fit(TRAIN, OTHERS, seed=3)
    proba = fitted.logits(OTHERS.x).exp()
    np.testing.assert_allclose(proba, fitted.fitted.predict_proba(OTHERS.x.numpy()))
    assert torch.equal(proba, training.fit(TRAIN, OTHERS, seed=3).logits(OTHERS.x).exp())
    assert not torch.equal(proba, training.fit(TRAIN, OTHERS, seed=4).logits(OTHERS.x).exp())


def test_classes_that_it_never_saw_have_probability_0() -> None:
    few = TRAIN.take((TRAIN.y == 0) | (TRAIN.y == 2))
    fitted = EstimatorTraining(RandomForestClassifier(n_estimators=5)).fit(few, OTHERS, seed=0)
    proba = fitted.logits(OTHERS.x).exp()
    assert proba.shape == (60, fitted.num_classes) == (60, 3)
    assert float(proba[:, 1].max()) == 0
    torch.testing.assert_close(proba.sum(dim=1), torch.ones(60, dtype=torch.float64))


def test_half_of_the_models_lack_a_class_of_one() -> None:
    """Nor has any record that validates runs this class, the last one."""
    rare = replace(TRAIN, y=torch.where(TRAIN.ids == 5, CLASSES, TRAIN.y))
    known = MembershipSets(rare, OTHERS, candidates=toy_records(20, seed=2))
    training = EstimatorTraining(RandomForestClassifier(n_estimators=5))
    runs = train_reference_matrix(training, pool_of(known), OTHERS, runs=4)
    (place,) = runs.places(rare.take(torch.tensor([5])))
    confidences, inside = runs.confidences[:, place], runs.inside[:, place]
    assert inside.sum() == 2
    assert bool(np.isneginf(confidences[~inside]).all())
    assert bool((confidences[inside] > -runs.end).all())


def test_fitted_estimator_is_named_and_stays_fitted() -> None:
    forest = RandomForestClassifier(n_estimators=5, random_state=0)
    before = fingerprint(EstimatorTraining(forest))
    forest.fit(TRAIN.x.numpy(), TRAIN.y.numpy())
    training = EstimatorTraining(forest)
    training.fit(OTHERS, TRAIN, seed=0)
    assert forest.n_classes_ == CLASSES
    assert fingerprint(training) == before
    deeper = RandomForestClassifier(n_estimators=5, random_state=0, max_depth=3)
    assert fingerprint(EstimatorTraining(deeper)) != before


def test_what_a_copy_fails_on_is_said() -> None:
    few = TRAIN.take(torch.arange(3))
    with pytest.raises(DataError, match=r"asked about 60 .*n_neighbors.* a training of your own"):
        EstimatorTraining(KNeighborsClassifier(5)).fit(few, OTHERS, seed=0).logits(OTHERS.x)


def test_bits_are_numbers_to_it() -> None:
    """Bytes would overflow in a pipeline that subtracts."""
    bits = toy_records(60, bits=True)
    seen: list[np.dtype] = []

    def remember(x: np.ndarray) -> np.ndarray:
        seen.append(x.dtype)
        return 1 - 2 * x

    pipeline = make_pipeline(FunctionTransformer(remember), LogisticRegression())
    EstimatorTraining(pipeline).fit(bits, OTHERS, seed=0).logits(bits.x)
    assert seen == [np.dtype(np.float64)] * 2


def test_what_gives_no_probabilities_is_refused() -> None:
    with pytest.raises(ValueError, match="predict_proba"):
        EstimatorTraining(Perceptron())


@pytest.mark.parametrize("name", ["lira", "rmia", "reference-model"])
def test_audit_of_a_model_does_not_guess_its_training(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} repeats .*EstimatorTraining"):
        selena.audit(RandomForestClassifier(), TRAIN, OTHERS, attacks=[name])


@pytest.mark.deep
@pytest.mark.filterwarnings("ignore::selena.models.AuditWarning")
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


def test_copies_get_subjects_where_taken() -> None:
    grouped = replace(TRAIN, subjects=torch.arange(60) // 3)
    splitting = EstimatorTraining(
        SplitAIClassifier(RandomForestClassifier(3), n_submodels=4, n_nonmodels=2)
    )
    assert splitting.fit(grouped, OTHERS, seed=0).fitted.shared_draws_
    assert not splitting.fit(TRAIN, OTHERS, seed=0).fitted.shared_draws_
    EstimatorTraining(RandomForestClassifier(3)).fit(grouped, OTHERS, seed=0)
