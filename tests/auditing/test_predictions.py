"""Auditing anybody's model from a table of predictions."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from torch import Tensor

from selena.attacks.neural import NeuralAttack
from selena.auditing.predictions import Predictions, read_predictions
from selena.auditing.run import run_audit
from selena.errors import DataError
from selena.training import batches
from selena.types import Attack, MembershipSets, Oracle, Records, Scorer
from tests.auditing.test_run import ATTACKS, Own

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class ByPlace:
    """Scores a record by its x, where records are rows of a table."""

    calibration: MembershipSets

    def score(self, candidates: Records) -> Tensor:
        return -candidates.x[:, 0].double()


def arrays(n: int = 120, classes: int = 3) -> Arrays:
    generator = np.random.default_rng(0)
    member = np.arange(n) % 2 == 0
    labels = generator.integers(0, classes, n)
    logits = generator.normal(size=(n, classes))
    logits[np.arange(n), labels] += np.where(member, 2.0, 0.5)
    p = np.exp(logits)
    return {
        "probabilities": p / p.sum(axis=1, keepdims=True),
        "labels": labels,
        "member": member,
        "known": np.arange(n) < n // 2,
    }


def write_csv(path: Path, data: Arrays) -> None:
    p = data["probabilities"]
    lines = [",".join([*(f"p{i}" for i in range(p.shape[1])), "label", "member", "known"])]
    lines += [
        ",".join([*(repr(float(v)) for v in p[i]), str(data["labels"][i]), str(m), str(k)])
        for i, (m, k) in enumerate(zip(data["member"], data["known"], strict=True))
    ]
    path.write_text("\n".join(lines) + "\n")


def test_every_kind_of_file_holds_the_same_predictions(tmp_path: Path) -> None:
    data = arrays()
    np.savez(tmp_path / "p.npz", **cast(Any, data))
    write_csv(tmp_path / "p.csv", data)
    columns = {f"p{i}": data["probabilities"][:, i] for i in range(3)}
    columns |= {"label": data["labels"], "member": data["member"], "known": data["known"]}
    parquet.write_table(pa.table(columns), tmp_path / "p.parquet")
    for name in ("p.npz", "p.csv", "p.parquet"):
        read = read_predictions(str(tmp_path / name))
        np.testing.assert_array_equal(read.probabilities, data["probabilities"])
        np.testing.assert_array_equal(read.labels, data["labels"])
        np.testing.assert_array_equal(read.member, data["member"])
        np.testing.assert_array_equal(read.known, data["known"])


def test_rows_of_one_person_have_one_score(tmp_path: Path) -> None:
    data = arrays() | {"subjects": np.arange(120) // 4 * 2 + np.arange(120) % 2}
    np.savez(tmp_path / "p.npz", **cast(Any, data))
    columns = {f"p{i}": data["probabilities"][:, i] for i in range(3)}
    columns |= {"label": data["labels"], "member": data["member"], "known": data["known"]}
    parquet.write_table(pa.table(columns | {"subject": data["subjects"]}), tmp_path / "p.parquet")
    for table in (Predictions(**data), *map(read_predictions, tmp_path.iterdir())):
        counts = run_audit(table, table.split(), ATTACKS, seed=0).counts()
        assert counts["evaluation_members"] == counts["known_non_members"] == 15
        assert counts["evaluation_records"] == 60
    large = Predictions(**{**data, "subjects": data["subjects"] + 2**60})
    named = Predictions(**{**data, "subjects": data["subjects"].astype(str)})
    for given in (large, named):
        assert given.subjects is not None
        assert len(np.unique(given.subjects)) == 60
    both = Predictions(**{**data, "subjects": np.arange(120) // 4})
    with pytest.raises(DataError, match="has records among the known members and the known non"):
        run_audit(both, both.split(), ATTACKS, seed=0)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("subjects", "message"),
    [
        (np.arange(119), r"rows, subjects has shape \(119,\)"),
        (np.full(120, 0.5), "subjects: row 0 holds 0.5, not an integer"),
        (np.full(120, 2.0**60), "subjects: 1152921504606846976 is too large"),
        (np.full(120, -4), "a subject has the number -4"),
    ],
)
def test_wrong_subjects_are_named(subjects: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Predictions(**arrays(), subjects=subjects)


def test_rows_become_records_and_answers_are_the_rows(tmp_path: Path) -> None:
    data = arrays()
    table = Predictions(**data)
    report = run_audit(table, table.split(), ATTACKS, seed=0)
    right = data["probabilities"].argmax(axis=1) == data["labels"]
    assert report.train_accuracy.value == pytest.approx(right[data["member"]].mean())
    assert report.attacks["confidence"].variants["global"].summary.auc > 0.6


def test_the_order_of_rows_tells_nothing() -> None:
    """Members come first, and every answer is the same: an attack that reads x has nothing."""
    member = np.arange(200) < 100
    uniform, labels = np.full((200, 2), 0.5), np.arange(200) % 2
    table = Predictions(uniform, labels, member, np.arange(200) % 4 < 2)

    def by_place(_oracle: Oracle, known: MembershipSets) -> Scorer:
        return ByPlace(known)

    report = run_audit(table, table.split(), [Own(by_place)], seed=0)
    assert abs(report.attacks["own"].variants["global"].summary.auc - 0.5) < 0.2


@pytest.mark.usefixtures("unchecked")
def test_what_numpy_makes_an_array_of_is_as_good() -> None:
    data = arrays()
    given = Predictions(
        probabilities=cast(Any, data["probabilities"].astype(np.float32)),
        labels=cast(Any, data["labels"].tolist()),
        member=cast(Any, data["member"].astype(int)),
        known=cast(Any, list(data["known"])),
    )
    assert given.probabilities.dtype == np.float32  # half of the memory
    for name in ("labels", "member", "known"):
        np.testing.assert_array_equal(getattr(given, name), data[name])
    assert given.member.dtype == given.known.dtype == bool


def changed(**changes: object) -> Arrays:
    return {**arrays(), **changes}  # type: ignore[dict-item]


def with_probability(row: int, values: list[float]) -> Arrays:
    p = arrays()["probabilities"].copy()
    p[row] = values
    return changed(probabilities=p)


def with_label(row: int, value: float) -> Arrays:
    labels = arrays()["labels"].astype(float)
    labels[row] = value
    return changed(labels=labels)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (with_probability(5, [np.nan, 0.5, 0.5]), "row 5"),
        (with_probability(6, [np.inf, 0.0, 0.0]), "row 6"),
        (with_probability(7, [-0.5, 1.0, 0.5]), "row 7"),
        (with_probability(8, [3.0, 1.0, -1.0]), "row 8"),
        (with_probability(9, [0.5, 0.4, 0.3]), "row 9.*softmax"),
        (with_label(3, 7), "row 3 holds 7"),
        (with_label(3, -1), "row 3 holds -1"),
        (with_label(4, 0.5), "row 4 holds 0.5, not an integer"),
        (changed(labels=np.zeros(5, int)), "Shapes disagree"),
        (changed(member=np.arange(120)), "row 2 holds 2"),
        (changed(member=np.ones(120, bool)), "member=False"),
        (changed(known=np.zeros(120, bool)), "known=True"),
        (changed(probabilities=np.ones((120, 1))), "two or more"),
        (changed(labels=np.array(["a"] * 120)), "labels must be numbers.*'a'.*searchsorted"),
    ],
)
def test_bad_predictions_name_file_row_and_fix(data: Arrays, message: str, tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    np.savez(path, **cast(Any, data))
    with pytest.raises(DataError, match=message) as caught:
        read_predictions(path)
    assert str(path) in str(caught.value)


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_predictions(tmp_path / "absent.npz")
    lacking = arrays()
    del lacking["known"]
    np.savez(tmp_path / "lacking.npz", **cast(Any, lacking))
    with pytest.raises(DataError, match="no array 'known', only"):
        read_predictions(tmp_path / "lacking.npz")
    np.savez(tmp_path / "whole.npz", **cast(Any, arrays()))
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged"):
        read_predictions(tmp_path / "cut.npz")
    (tmp_path / "table.csv").write_text("p0,label,member,known\n1.0,0,true,true\n")
    with pytest.raises(DataError, match="columns p1"):
        read_predictions(tmp_path / "table.csv")
    (tmp_path / "word.csv").write_text("p0,p1,label,member,known\n0.5,half,0,true,true\n")
    with pytest.raises(DataError, match="row 2, column 'p1'"):
        read_predictions(tmp_path / "word.csv")
    (tmp_path / "predictions.txt").write_text("")
    with pytest.raises(DataError, match=r"\.txt"):
        read_predictions(tmp_path / "predictions.txt")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["probabilities", "labels", "member", "known"])
def test_only_subjects_may_be_none(name: str) -> None:
    with pytest.raises(DataError, match=f"{name} must be numbers"):
        Predictions(**{**arrays(), name: cast(Any, None)})


def table(**more: object) -> dict[str, Any]:
    """Columns of a table of predictions for two classes."""
    p = np.linspace(0.1, 0.9, 8)
    return {
        "p0": p,
        "p1": 1 - p,
        "label": np.arange(8) % 2,
        "member": np.arange(8) % 4 < 2,
        "known": np.arange(8) < 4,
    } | more


def test_columns_that_nobody_reads_may_hold_anything(tmp_path: Path) -> None:
    columns = table(note=[*"abcdefg", "\u00fc"], __index_level_0__=["case"] * 8)
    columns["times"] = np.array(["2020-01-01"] * 8, "M8[ms]")
    parquet.write_table(pa.table(columns), tmp_path / "p.parquet")
    rows = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    text = "\n".join([",".join(columns), *rows])
    (tmp_path / "p.csv").write_text(text, encoding="latin-1")
    for name in ("p.csv", "p.parquet"):
        read = read_predictions(tmp_path / name)
        np.testing.assert_array_equal(read.probabilities[:, 0], columns["p0"])
        np.testing.assert_array_equal(read.member, columns["member"])


@pytest.mark.parametrize("name", ["p0", "p1"])
def test_one_column_of_probabilities_names_the_fix(name: str, tmp_path: Path) -> None:
    columns = table()
    del columns[name]
    parquet.write_table(pa.table(columns), tmp_path / "p.parquet")
    with pytest.raises(DataError, match=f"lacks the columns {name}. For two classes give both"):
        read_predictions(tmp_path / "p.parquet")


def test_subjects_of_a_table_may_be_large_or_words(tmp_path: Path) -> None:
    for subjects in ([2**60 + row // 2 for row in range(8)], [*"aabbccdd"]):
        parquet.write_table(pa.table(table(subject=subjects)), tmp_path / "p.parquet")
        found = read_predictions(tmp_path / "p.parquet").subjects
        assert found is not None
        assert found.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("column", ["label", "member", "known"])
def test_a_word_among_numbers_is_named(column: str, tmp_path: Path) -> None:
    columns = {name: list(map(str, values)) for name, values in table().items()}
    columns[column][5] = "1_0"
    rows = [",".join(row) for row in zip(*columns.values(), strict=True)]
    (tmp_path / "p.csv").write_text("\n".join([",".join(columns), *rows]))
    with pytest.raises(DataError, match=f"row 7, column '{column}': '1_0' is no number"):
        read_predictions(tmp_path / "p.csv")


def test_a_column_that_is_there_twice_is_named(tmp_path: Path) -> None:
    columns = table()
    both = pa.Table.from_arrays(
        [pa.array(column) for column in (*columns.values(), columns["label"])],
        [*columns, "label"],
    )
    parquet.write_table(both, tmp_path / "p.parquet")
    with pytest.raises(DataError, match="2 columns are called 'label'"):
        read_predictions(tmp_path / "p.parquet")


def test_a_name_without_a_suffix_is_named(tmp_path: Path) -> None:
    (tmp_path / "predictions").write_text("p0,p1")
    with pytest.raises(DataError, match=r"predictions: the name has no suffix. Known: \.csv"):
        read_predictions(tmp_path / "predictions")


def test_reading_takes_no_more_than_twice_the_file(tmp_path: Path) -> None:
    p = np.full((80_000, 100), 0.01, dtype=np.float32)
    member, known = np.arange(len(p)) % 2 == 0, np.arange(len(p)) % 4 < 2
    path = tmp_path / "p.npz"
    np.savez(path, probabilities=p, labels=np.arange(len(p)) % 100, member=member, known=known)
    del p
    tracemalloc.start()
    try:
        read_predictions(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * path.stat().st_size


def test_scores_do_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Predictions(**arrays())
    attacks: list[Attack] = [*ATTACKS, NeuralAttack(epochs=1)]
    whole = run_audit(table, table.split(), attacks, seed=0)
    monkeypatch.setattr(batches, "_ANSWERS", 20)
    asked: list[int] = []
    answer = Predictions.logits

    def logits(self: Predictions, x: Tensor) -> Tensor:
        asked.append(len(x))
        return answer(self, x)

    monkeypatch.setattr(Predictions, "logits", logits)
    report = run_audit(table, table.split(), attacks, seed=0)
    del report.attacks["neural"], whole.attacks["neural"]  # its products round by their size
    assert report == whole
    assert max(asked[4:]) == 6  # after the few that are asked twice


def test_attacks_share_all_but_scores() -> None:
    table = Predictions(**arrays())
    report = run_audit(table, table.split(), ATTACKS[1:3], seed=0)
    first, second = (result.scores for result in report.attacks.values())
    for part in ("calibration", "evaluation"):
        for name in ("truth", "labels", "ids"):
            a, b = (getattr(getattr(each, part), name) for each in (first, second))
            assert np.shares_memory(a, b)


def test_bytes_that_an_audit_keeps_per_record() -> None:
    """docs/reliability.md counts them."""
    table = Predictions(**arrays(1200))
    split = table.split()
    report = run_audit(table, split, ATTACKS[1:3], seed=0)
    kept: dict[int, int] = {}
    held = [table.probabilities, table.labels, table.member, table.known, table._order]
    for sets in (split.known, split.evaluation):
        for records in (sets.members, sets.non_members):
            held += [tensor.numpy() for tensor in records.tensors]
    for result in report.attacks.values():
        for part in (result.scores.calibration, result.scores.evaluation):
            held += [part.scores, part.truth, part.labels, part.ids]
    for array in held:
        kept[array.__array_interface__["data"][0]] = array.nbytes
    assert sum(kept.values()) / 1200 == 3 * 8 + 14 + 24 + 17 + 2 * 8


def test_single_precision_of_a_table_is_kept(tmp_path: Path) -> None:
    columns = {name: pa.array(values) for name, values in table().items()}
    for name in ("p0", "p1"):
        columns[name] = columns[name].cast(pa.float32())
    parquet.write_table(pa.table(columns), tmp_path / "p.parquet")
    assert read_predictions(tmp_path / "p.parquet").probabilities.dtype == np.float32


def test_the_old_names_of_subjects_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whose = np.arange(8) // 2
    parquet.write_table(pa.table(table(group=whose)), tmp_path / "p.parquet")
    data = arrays() | {"groups": np.arange(120) // 4 * 2 + np.arange(120) % 2}
    np.savez(tmp_path / "p.npz", **data)
    assert read_predictions(tmp_path / "p.parquet").subjects is not None
    assert read_predictions(tmp_path / "p.npz").subjects is not None
    assert caplog.text.count("Version 2.0 will not read the old name") == 2
