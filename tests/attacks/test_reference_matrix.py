"""The reference matrix: given, trained, grown, kept in files, shared by targets."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

import selena
from selena.attacks import Copies, ReferenceMatrix, lira_scores, scores_in_turn
from selena.attacks.pool_index import content_names
from selena.attacks.reference_model import ReferenceMatrixAttack, ReferenceModelAttack
from selena.attacks.reference_statistics import StatisticName
from selena.attacks.reference_training import train_reference_matrix
from selena.attacks.signals import confidence
from selena.auditing.oracle import MeteredOracle
from selena.defenses.undefended import Undefended
from selena.environment.fingerprint import describe, fingerprint
from selena.errors import ConfigError, DataError
from selena.metrics import roc_curve
from selena.types import MembershipSets, Records, concatenate
from tests.toys import CLASSES, NETWORK, RECIPE, toy_records

UNDEFENDED = Undefended(NETWORK, CLASSES, RECIPE)
POOL, VALIDATION = toy_records(60, seed=0), toy_records(8, seed=8, start=800)
MATRIX = train_reference_matrix(UNDEFENDED, POOL, VALIDATION, runs=6)
CLIP: Any = {"rtol": 1e-4, "atol": 1e-4}


def drawn(runs: int = 8, n: int = 400, leak: float = 3.0, seed: int = 0) -> ReferenceMatrix:
    """Return a matrix of halves in which a seen record's log-odds are higher by `leak`."""
    draws = np.random.default_rng(seed)
    halves = [draws.permutation(n) < n // 2 for _ in range(runs // 2)]
    inside = np.array([side for half in halves for side in (half, ~half)])
    noise = draws.normal(size=(runs, n))
    return ReferenceMatrix(draws.normal(0, 4, n) + noise + leak * inside, inside)


def equal(first: ReferenceMatrix, second: ReferenceMatrix) -> None:
    np.testing.assert_array_equal(first.confidences, second.confidences)
    np.testing.assert_array_equal(first.inside, second.inside)
    if first.names is None:
        assert second.names is None
    else:
        np.testing.assert_array_equal(first.names, second.names)
    assert fingerprint(first.copies) == fingerprint(second.copies)


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_a_file_gives_back_the_matrix(suffix: str, tmp_path: Path) -> None:
    for number, matrix in enumerate((MATRIX, drawn(), drawn().take([], runs=[0, 3]))):
        path = tmp_path / f"{number}.{suffix}"
        matrix.save(path)
        equal(ReferenceMatrix.load(path), matrix)


@pytest.mark.parametrize("kind", ["flip", "noise"])
def test_a_file_gives_back_the_copies(kind: str, tmp_path: Path) -> None:
    copies = Copies.fitting(POOL, 2, kind=kind)
    matrix = ReferenceMatrix(np.zeros((2, 60, 3)), np.zeros((2, 60), bool), copies=copies)
    matrix.save(tmp_path / "matrix.npz")
    equal(ReferenceMatrix.load(tmp_path / "matrix.npz"), matrix)
    with pytest.raises(DataError, match=r"one query per record\. Save it as \.npz"):
        matrix.save(tmp_path / "matrix.parquet")


def test_columns_of_a_table_may_come_from_anybody(tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    path.write_text("inside1,confidence0,confidence1,inside0,note\n1,0.5,-2,0,a\n0,1,3,1,b\n")
    found = ReferenceMatrix.load(path)
    assert found.confidences.tolist() == [[0.5, 1.0], [-2.0, 3.0]]
    assert found.inside.tolist() == [[False, True], [True, False]]


def test_no_file_is_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("unpickled",))

    held = np.array([[Bomb()]], dtype=object)
    np.savez(tmp_path / "bomb.npz", confidences=held, inside=np.ones((1, 1)))
    (tmp_path / "bare.npz").write_bytes(pickle.dumps([1]))
    for name in ("bomb.npz", "bare.npz"):
        with pytest.raises(DataError, match=name):
            ReferenceMatrix.load(tmp_path / name)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"confidences": np.zeros((2, 3))}, "no array 'inside'"),
        ({"confidences": np.zeros((2, 3)), "inside": np.zeros((2, 4))}, "Shapes disagree"),
        ({"confidences": np.full((2, 3), np.nan), "inside": np.zeros((2, 3))}, "run 0 holds NaN"),
        ({"confidences": np.zeros((2, 3)), "inside": np.full((2, 3), 2)}, "other values than 0"),
        ({"confidences": np.array([["a"]]), "inside": np.zeros((1, 1))}, "must be numbers"),
        (
            {
                "confidences": np.zeros((2, 1)),
                "inside": np.zeros((2, 1)),
                "names": np.array(["no digest"]),
            },
            "hexadecimal",
        ),
        (
            {
                "confidences": np.zeros((2, 1)),
                "inside": np.zeros((2, 1)),
                "copies": np.array(["flip", "many", "1", "0"]),
            },
            "copies must be kind, count",
        ),
    ],
)
def test_a_wrong_file_is_named(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(DataError, match=rf"wrong\.npz.*{message}"):
        ReferenceMatrix.load(tmp_path / "wrong.npz")


def test_a_table_without_runs_is_named(tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text("p0\n1\n")
    with pytest.raises(DataError, match=r"no column confidence0.*inside0"):
        ReferenceMatrix.load(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"saved as \.npz or \.parquet"):
        MATRIX.save(tmp_path / "matrix.csv")


def test_grown_runs_are_those_trained_at_once() -> None:
    few = train_reference_matrix(UNDEFENDED, POOL, VALIDATION, runs=4)
    grown = train_reference_matrix(UNDEFENDED, POOL, VALIDATION, runs=6, grow=few)
    np.testing.assert_array_equal(grown.confidences[:4], few.confidences)
    np.testing.assert_array_equal(grown.inside, MATRIX.inside)
    np.testing.assert_allclose(grown.confidences, MATRIX.confidences, **CLIP)
    np.testing.assert_array_equal(grown.names, MATRIX.names)


def test_only_runs_of_one_pool_and_seed_grow() -> None:
    for records, seed in ((POOL, 1), (toy_records(60, seed=4), 0)):
        with pytest.raises(DataError, match="other records, or its halves"):
            train_reference_matrix(UNDEFENDED, records, VALIDATION, runs=8, seed=seed, grow=MATRIX)
    with pytest.raises(DataError, match="has other copies"):
        train_reference_matrix(
            UNDEFENDED, POOL, VALIDATION, runs=8, grow=MATRIX, copies=Copies.fitting(POOL, 1)
        )
    with pytest.raises(ConfigError, match=r"runs is 4; give an even number from 6 on"):
        train_reference_matrix(UNDEFENDED, POOL, VALIDATION, runs=4, grow=MATRIX)


def test_joined_runs_stand_one_after_the_other() -> None:
    whole = drawn()
    first, rest = whole.take(runs=slice(0, 3)), whole.take(runs=slice(3, 8))
    equal(first.join(rest), whole)
    with pytest.raises(DataError, match="different records"):
        MATRIX.join(MATRIX.take(slice(None, None, -1)))
    with pytest.raises(DataError, match="Records or queries differ"):
        whole.join(whole.take(slice(0, 7)))


def test_each_model_in_turn_is_the_target() -> None:
    matrix = drawn()
    for target in range(matrix.runs):
        scores = scores_in_turn(matrix, target)
        others = [run for run in range(8) if run // 2 != target // 2]
        rest = matrix.take(runs=others)
        expected = lira_scores(matrix.confidences[target], rest.confidences, rest.inside)
        np.testing.assert_allclose(scores, expected, rtol=1e-9)
        assert roc_curve(scores, matrix.inside[target]).auc > 0.9


@pytest.mark.parametrize("statistic", get_args(StatisticName))
@pytest.mark.parametrize(
    ("design", "runs"), [("pairs", None), ("halves", None), ("halves", 6), ("coins", None)]
)
def test_what_is_left_out_does_not_tell(statistic: Any, design: str, runs: int | None) -> None:
    """No leak, as many models on either side: who is left out must not be seen in a score.

    With the target alone left out of halves, the number of models would tell: an AUC of 1.
    Six standard deviations of an AUC of 1,000 against 1,000: 0.08.
    """
    draws = np.random.default_rng(3)
    inside = drawn(n=2000).inside
    if design == "halves":  # half of the models saw each record, but no two halves are complements
        order = draws.random(inside.shape).argsort(axis=0)
        inside = order < len(inside) // 2
    if design == "coins":
        inside = draws.random((24, 2000)) < 0.5
    matrix = ReferenceMatrix(draws.normal(size=inside.shape), inside)
    auc = [
        roc_curve(scores_in_turn(matrix, target, statistic, runs=runs), inside[target]).auc
        for target in range(2)
    ]
    assert np.abs(np.array(auc) - 0.5).max() < 0.08


def test_too_few_models_after_one_is_left_out() -> None:
    halves = np.random.default_rng(3).random((6, 200)).argsort(axis=0) < 3
    matrix = ReferenceMatrix(np.zeros(halves.shape), halves)
    with pytest.raises(DataError, match="Some record has 1 reference models that"):
        scores_in_turn(matrix, 0, runs=4)


def test_fewer_runs_and_wrong_numbers() -> None:
    matrix = drawn()
    assert not np.array_equal(scores_in_turn(matrix, 0, runs=4), scores_in_turn(matrix, 0))
    with pytest.raises(ConfigError, match="there are 6 reference models"):
        scores_in_turn(matrix, 0, runs=8)
    with pytest.raises(ConfigError, match="runs 0 to 7"):
        scores_in_turn(matrix, 8)


def table_of(matrix: ReferenceMatrix, target: int) -> selena.Predictions:
    """Return what one of the matrix's models predicts, as a table of two classes."""
    p = 1 / (1 + np.exp(-matrix.confidences[target]))
    rows = np.arange(len(matrix))
    labels = np.zeros(len(matrix), dtype=np.int64)
    return selena.Predictions(
        np.column_stack([p, 1 - p]), labels, matrix.inside[target], rows % 2 == 0
    )


def auc_of(report: selena.AuditReport) -> dict[str, float]:
    return {name: each.variants["global"].summary.auc for name, each in report.attacks.items()}


def test_predictions_and_a_file_of_references(tmp_path: Path) -> None:
    matrix = drawn(runs=10, n=400)
    rest = matrix.take(runs=slice(2, 10))
    rest.save(tmp_path / "references.npz")
    report = selena.audit(
        table_of(matrix, 0),
        attacks=("confidence",),
        references=tmp_path / "references.npz",
        fpr=1.0,
    )
    auc = auc_of(report)
    assert set(auc) == {"confidence", "lira", "rmia", "bavaria", "empirical_bayes"}
    assert auc["lira"] > 0.95 > auc["confidence"]
    scores = report.attacks["lira"].scores.evaluation
    expected = lira_scores(matrix.confidences[0], rest.confidences, rest.inside)
    np.testing.assert_allclose(scores.scores, expected[scores.ids], rtol=1e-6)


def test_columns_follow_their_rows_not_the_truth() -> None:
    """The same predictions with another truth get the same scores: nothing is looked up by it."""
    matrix = drawn(runs=10, n=400)
    honest = table_of(matrix, 0)
    planted = replace(honest, member=np.random.default_rng(5).random(400) < 0.5)
    rest = matrix.take(runs=slice(2, 10))
    found = []
    for predictions in (honest, planted):
        attack = ReferenceMatrixAttack(rest)
        report = selena.audit(predictions, attacks=[attack], fpr=1.0)
        parts = (
            report.attacks["lira"].scores.evaluation,
            report.attacks["lira"].scores.calibration,
        )
        found.append(
            {int(i): float(s) for part in parts for i, s in zip(part.ids, part.scores, strict=True)}
        )
    common = set(found[0]) & set(found[1])
    assert len(common) > 200
    assert all(found[0][i] == pytest.approx(found[1][i], rel=1e-9) for i in common)


def test_other_numbers_of_records_are_refused() -> None:
    matrix = drawn(runs=10, n=400)
    with pytest.raises(DataError, match=r"has 399 records, and 400 are audited"):
        selena.audit(table_of(matrix, 0), references=matrix.take(slice(0, 399)), fpr=1.0)


def test_offline_needs_no_model_that_saw_a_record() -> None:
    matrix = drawn(runs=10, n=400)
    outside = replace(matrix, inside=np.zeros_like(matrix.inside)).take(runs=slice(2, 10))
    names = ("lira_offline", "rmia_offline", "bavaria_offline", "base_offline")
    report = selena.audit(table_of(matrix, 0), attacks=names, references=outside, fpr=1.0)
    assert set(report.attacks) == set(names)
    with pytest.raises(DataError, match="0 reference models that trained on it"):
        selena.audit(table_of(matrix, 0), attacks=("lira",), references=outside, fpr=1.0)


def arrays(records: Records) -> tuple[np.ndarray, np.ndarray]:
    return records.x.numpy(), records.y.numpy()


@pytest.mark.filterwarnings("ignore::selena.models.AuditWarning")
@pytest.mark.parametrize("by_content", [True, False])
def test_a_model_and_references_by_content_or_order(by_content: bool) -> None:
    half = torch.from_numpy(MATRIX.inside[0])
    target = UNDEFENDED.fit(POOL.take(half), VALIDATION, seed=0)
    sides = [POOL.take(half), POOL.take(~half)]
    rest = MATRIX.take(runs=slice(2, 6))
    if not by_content:
        order = torch.cat([torch.nonzero(half), torch.nonzero(~half)]).squeeze(1).numpy()
        rest = replace(rest.take(order), names=None)
    report = selena.audit(target, *sides, attacks=("lira",), references=rest, fpr=1.0)
    asked = concatenate(*sides)
    observed = confidence(target.logits(asked.x), asked.y).numpy()
    places = MATRIX.places(asked).numpy()
    expected = lira_scores(observed, MATRIX.confidences[2:, places], MATRIX.inside[2:, places])
    found = report.attacks["lira"].scores.evaluation
    np.testing.assert_allclose(found.scores, expected[found.ids], rtol=1e-6, atol=1e-6)


def test_a_stranger_is_not_in_the_matrix() -> None:
    attack = ReferenceMatrixAttack(MATRIX)
    oracle = MeteredOracle(UNDEFENDED.fit(POOL, VALIDATION, seed=0), "logits")
    known = MembershipSets(POOL.take(torch.arange(9)), toy_records(9, seed=77))
    with pytest.raises(DataError, match="Record 9 was not among"):
        attack.fit(oracle, known, seed=0)
    with pytest.raises(DataError, match="has no names"):
        ReferenceMatrixAttack(replace(MATRIX, names=None)).fit(oracle, known, seed=0)


def test_an_attack_by_a_matrix_can_be_kept() -> None:
    one, two = (ReferenceMatrixAttack(drawn(n=2000, seed=seed)) for seed in (0, 1))
    assert fingerprint(one) != fingerprint(two)
    assert fingerprint(one) == fingerprint(ReferenceMatrixAttack(drawn(n=2000)))
    assert len(str(describe(one))) < 1000


@pytest.mark.usefixtures("unchecked")
def test_a_matrix_takes_lists_and_tensors() -> None:
    matrix = drawn(n=40)
    lists = ReferenceMatrix(matrix.confidences.tolist(), matrix.inside.astype(int).tolist())
    equal(lists, matrix)
    tensors = [torch.from_numpy(each) for each in (matrix.confidences, matrix.inside)]
    equal(ReferenceMatrix(*tensors), matrix)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="references is a int"):
        selena.audit(table_of(matrix, 0), references=3)  # type: ignore[arg-type]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("kind", "count", "message"),
    [("turn", 2, "unknown"), ("shift", 18, "17 shifts"), ("auto", 0, "count is 0")],
)
def test_impossible_copies_are_refused(kind: str, count: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Copies.fitting(POOL, count, kind=kind)


def test_copies_are_asked_of_all_models_alike() -> None:
    """As many answers per record, the first of the record itself; the target's are the same."""
    copies = Copies.fitting(POOL, 2)
    matrix = train_reference_matrix(UNDEFENDED, POOL, VALIDATION, runs=4, copies=copies)
    assert matrix.queries == 3
    plain = MATRIX.confidences[:4]
    np.testing.assert_allclose(matrix.confidences[..., 0], plain, **CLIP)
    assert not np.allclose(matrix.confidences[..., 1], plain, **CLIP)
    half = torch.from_numpy(matrix.inside[0])
    target = UNDEFENDED.fit(POOL.take(half), VALIDATION, seed=0)
    few = POOL.take(torch.arange(40, 50))
    known = MembershipSets(POOL.take(half), POOL.take(~half))
    for attack in (ReferenceMatrixAttack(matrix), ReferenceMatrixAttack(matrix, "rmia")):
        scorer = attack.fit(MeteredOracle(target, "logits"), known, seed=0)
        asked = copies.ask(target.logits, few)
        one = scorer.score(few)
        together = attack.references.answers(asked.numpy(), np.arange(40, 50), online=True, least=2)
        assert together.target.shape == (10, 3)
        torch.testing.assert_close(scorer.score(few.take(torch.tensor([3]))), one[3:4])


def test_copies_suit_their_features() -> None:
    images = Records(
        torch.zeros(4, 3, 6, 6, dtype=torch.uint8), torch.zeros(4).long(), POOL.ids[:4]
    )
    bits = toy_records(4, bits=True)
    kinds = [Copies.fitting(each, 1).kind for each in (images, bits, POOL)]
    assert kinds == ["shift", "flip", "noise"]


def test_attack_with_copies_asks_more() -> None:
    parts = [toy_records(24, seed=i, start=100 * i) for i in range(3)]
    known = MembershipSets(parts[0], parts[1], candidates=parts[2])
    target = UNDEFENDED.fit(parts[0], VALIDATION, seed=5)
    scores = []
    for count in (0, 3):
        oracle = MeteredOracle(target, "logits")
        attack = ReferenceModelAttack(UNDEFENDED, "rmia", runs=4, copies=count)
        scores.append(attack.fit(oracle, known, seed=0).score(parts[2]))
        assert oracle.queries == 24 * (1 + count)
    assert not torch.equal(*scores)


def test_population_ranks_as_the_ratio_does() -> None:
    names = content_names(POOL.x, POOL.y)
    matrix = replace(drawn(n=60), names=names)
    oracle = MeteredOracle(UNDEFENDED.fit(POOL, VALIDATION, seed=0), "logits")
    known = MembershipSets(POOL.take(torch.arange(30)), POOL.take(torch.arange(30, 60)))
    plain, shares = (
        ReferenceMatrixAttack(matrix, "rmia", population=each, gamma=gamma)
        .fit(oracle, known, seed=0)
        .score(POOL)
        for each, gamma in ((False, 1.0), (True, 1.5))
    )
    assert torch.equal(plain.argsort(), shares.argsort())
    assert 0 < float(shares.min()) <= float(shares.max()) < 1
