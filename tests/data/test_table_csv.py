"""CSV files: what is read, and how what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from selena.data import table_csv
from selena.data.load import load_file
from selena.data.open_table import open_table
from selena.errors import DataError
from tests.data.tables import X, csv, kinds, written
from tests.toys import subjects_of


def test_label_column_has_any_name_and_place(tmp_path: Path) -> None:
    path = csv(tmp_path, "a, kind ,b\n1,x,2\n3,y,4\n")
    dataset = load_file(path, label_column="kind")
    assert dataset.records.x.tolist() == [[1, 2], [3, 4]]
    assert dataset.records.y.tolist() == [0, 1]


@pytest.mark.parametrize(
    "text",
    [
        'a,b,label\n1,2,"deep, red"\n3,"4",blue\n',
        "\ufeffa,b,label\r\n1,2,red\r\n\r\n3,4,blue",
        'a,b,label\n1,2,"two\nlines"\n3,4,blue\n',
    ],
    ids=["quotes", "byte order mark, CRLF, blank line", "line break in a cell"],
)
def test_csv_dialects(text: str, tmp_path: Path) -> None:
    dataset = load_file(csv(tmp_path, text))
    assert dataset.records.x.tolist() == [[1, 2], [3, 4]]
    assert dataset.records.y.tolist() == [1, 0]


@pytest.mark.parametrize("first", ["1,2,x", '1,2,"x"'], ids=["plain", "careful"])
@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("1,2", r"row 4: 2 cells under a header of 3 columns"),
        ("1,2,x,3", r"row 4: 4 cells under a header of 3 columns"),
        ("1,,x", r"row 4, column 'b': the cell is empty"),
        ("one,2,x", r"row 4, column 'a': 'one' is no number"),
        ("1,nan,x", r"row 4, column 'b': nan is not a finite"),
        ("1,2,", r"row 4, column 'label': the cell is empty"),
    ],
)
def test_wrong_rows_are_named(first: str, row: str, complaint: str, tmp_path: Path) -> None:
    path = csv(tmp_path, f"a,b,label\n{first}\n3,4,y\n{row}\n5,6,x\n")
    with pytest.raises(DataError, match=rf"own\.csv, {complaint}"):
        load_file(path)


def test_rows_are_counted_over_blank_and_broken_lines(tmp_path: Path) -> None:
    path = csv(tmp_path, 'a,label\n1,"two\nlines"\n\n3,y\nfour,z\n')
    with pytest.raises(DataError, match=r"row 6, column 'a': 'four'"):
        load_file(path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a,b\n1,2\n", r"no columns are called 'label'; the columns are a, b"),
        ("label,a,label\n1,2,3\n", r"2 columns are called 'label'"),
        ("a;b;label\n1;2;3\n", r"the columns are a;b;label"),
        ("label\nx\ny\n", r"no feature columns"),
    ],
)
def test_wrong_headers(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=complaint):
        load_file(csv(tmp_path, text))


@pytest.mark.parametrize("text", ["{a},{b},{c}", '"{a}", {b} ,"{c}"'], ids=["plain", "quoted"])
def test_numbers_are_read_exactly(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELENA_MAX_LINE", "1000")  # some rows at a time
    x = np.random.default_rng(0).normal(size=(50, 2))
    rows = [text.format(a=a, b=b, c=i % 3) for i, (a, b) in enumerate(x)]
    file = open_table(csv(tmp_path, "a,b,label\n" + "\n".join(rows)))
    cells = file.read([0, 1], [2], np.float64)
    np.testing.assert_array_equal(cells.numbers, x)
    assert cells.words[0].tolist() == [str(i % 3) for i in range(50)]
    assert (file.row(0), file.row(49)) == (2, 51)


def test_a_row_may_be_longer_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_csv, "_BLOCK", 100)
    monkeypatch.setattr(table_csv, "_HEADERS", 1)
    labels = ["short"] * 50 + ["long" * 100] + ["short"] * 50
    rows = [f"{i},{label}" for i, label in enumerate(labels)]
    cells = open_table(csv(tmp_path, "\n".join(["a,label", *rows]))).read([0], [1], np.float64)
    assert cells.numbers[:, 0].tolist() == list(range(101))
    assert cells.words[0].tolist() == labels


@pytest.mark.parametrize(
    "row", ['"a, ""b""",1,True,x', '"two\nlines",1,TRUE,x', "\xff,1,true,x", ",1,true,x"]
)
def test_columns_that_nobody_reads_may_hold_anything(row: str, tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(f"note,a,b,label\n{row}\n".encode("latin-1"))
    cells = open_table(path).read([1, 2], [3], np.float64)
    assert (cells.numbers.tolist(), cells.words[0].tolist()) == ([[1, 1]], ["x"])


def test_numbers_and_truth_values_may_mix(tmp_path: Path) -> None:
    cells = open_table(csv(tmp_path, "a,label\n0.5,x\nTRUE,y\nfalse,x\n")).read(
        [0], [1], np.float64
    )
    assert cells.numbers[:, 0].tolist() == [0.5, 1, 0]


@pytest.mark.parametrize("column", ["a", "label"])
def test_text_that_is_no_utf8_is_named(column: str, tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    row = {"a": "1", "label": "x"} | {column: "\xfc"}
    path.write_bytes(f"a,label\n1,x\n{','.join(row.values())}\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"row 3: this is no CSV text in UTF-8"):
        load_file(path)


def test_a_header_may_contain_a_line_break(tmp_path: Path) -> None:
    path = csv(tmp_path, '"Age\n(years)",income,label\n1.5,2,0\n3.5,x,1\n')
    with pytest.raises(DataError, match=r"row 4, column 'income': 'x' is no number"):
        load_file(path)
    path.write_text(path.read_text().replace("x", "4"))
    assert load_file(path).records.x.tolist() == [[1.5, 2], [3.5, 4]]


@pytest.mark.parametrize("cell", ["1_2", "\u0661", "0x10", "1,5"])
def test_what_only_python_reads_is_no_number(cell: str, tmp_path: Path) -> None:
    path = csv(tmp_path, f'a,label\n1,0\n"{cell}",1\n')
    with pytest.raises(DataError, match=rf"row 3, column 'a': '{cell}' is no number"):
        load_file(path)


@kinds
def test_codes_are_names_of_classes(kind: str, tmp_path: Path) -> None:
    dataset = load_file(written(kind, tmp_path, X, np.array(["1_2", "3_4", "1_2", "12"])))
    assert dataset.class_names == ("12", "1_2", "3_4")


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_are_named(separator: str, tmp_path: Path) -> None:
    text = "a,b,label\n1.5,2,0\n3.5,4,1\n".replace(",", separator).replace(".", ",")
    with pytest.raises(DataError, match=r"separated by (semicolons|tabs).*sep='(;|\\t)', decimal"):
        load_file(csv(tmp_path, text))


def test_decimal_commas_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 2, column 'a'.*decimal point"):
        load_file(csv(tmp_path, 'a,label\n"0,5",x\n'))


@pytest.mark.parametrize("index", ["", '""', "Unnamed: 0"])
def test_row_numbers_of_pandas_and_r_are_no_features(index: str, tmp_path: Path) -> None:
    path = csv(tmp_path, f"{index},a,label\n7,1.5,x\n8,2.5,y\n")
    assert load_file(path).records.x.tolist() == [[1.5], [2.5]]


def test_row_names_without_a_header_are_named(tmp_path: Path) -> None:
    path = csv(tmp_path, '"a","label"\n"r1",1.5,"x"\n"r2",2.5,"y"\n')
    with pytest.raises(DataError, match=r"row 2: 3 cells.*write\.table with col\.names=NA"):
        load_file(path)


@kinds
@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (["cat", "NA", "dog", "cat"], "{row}: is the label 'NA' a missing value"),
        (["1", "NaN", "0", "1"], "{row}: is the label 'NaN' a missing value"),
        (["True", "true", "False", "False"], "{row}: the labels 'True' and 'true' differ in case"),
    ],
)
def test_doubtful_labels_are_asked_about(
    labels: list[str], complaint: str, kind: str, tmp_path: Path
) -> None:
    row = f"row {3 if kind == 'csv' else 2}"
    with pytest.raises(DataError, match=complaint.format(row=row)):
        load_file(written(kind, tmp_path, X, np.array(labels)))


def test_letters_of_both_cases_are_classes(tmp_path: Path) -> None:
    dataset = load_file(written("csv", tmp_path, X, np.array(["a", "A", "b", "B"])))
    assert dataset.class_names == ("A", "B", "a", "b")


@pytest.mark.parametrize("quote", ["", '"'], ids=["plain", "careful"])
def test_a_column_of_subjects_is_no_feature(quote: str, tmp_path: Path) -> None:
    path = csv(tmp_path, f"a,who,label,b\n1,{quote}Eve{quote},x,2\n3,Al,y,4\n5, Eve,x,6\n")
    dataset = load_file(path, subject_column="who")
    assert dataset.records.x.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert subjects_of(dataset.records).tolist() == [1, 0, 1]
    assert "3 records in 2 subjects" in dataset.source


@pytest.mark.parametrize(
    ("column", "complaint"),
    [
        ("b", r"no columns are called 'b'.*--subject-column"),
        ("label", r"column 'label' cannot hold both labels and subjects"),
        ("who", r"own\.csv, row 3, column 'who': the cell is empty"),
    ],
)
def test_wrong_subjects(column: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=complaint):
        load_file(csv(tmp_path, "a,who,label\n1,Eve,x\n3,,y\n"), subject_column=column)
