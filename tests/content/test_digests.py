"""Records of any kind are compared by all that they hold."""

from __future__ import annotations

from collections import UserDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from selena.content.digests import digests, number_contents
from selena.errors import DataError


@dataclass
class OutputFormat:
    values: Any
    unit: str


LONG = np.zeros(5000)
LONG[2500] = 1
IMAGE = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
PAIR = [("a", "i4"), ("b", "f8", (2,))]


def image(pixels: np.ndarray, mode: str = "RGB") -> Any:
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    return pillow.fromarray(pixels).convert(mode)


def palette(first: int) -> Any:
    made = image(np.zeros((2, 2), dtype=np.uint8), "P")
    made.putpalette([first] * 768)
    return made


def coo(numbers: Any) -> torch.Tensor:
    return torch.tensor(numbers).to_sparse()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": LONG, "b": 1}, {"b": 1.0, "a": LONG.tolist()}),
        (UserDict(a=[1, 2]), {"a": np.array([1, 2], dtype=np.uint8)}),
        ([[1, 2], [3, 4]], torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.bfloat16)),
        ([0.0, float("nan")], (-0.0, np.float32("nan"))),
        ([None, 1], [np.nan, True]),
        ({"x": {1, 2}}, {"x": frozenset([2.0, 1])}),
        (np.datetime64("2020-01-01"), np.datetime64("2020-01-01T00:00:00")),
        (
            datetime(2020, 1, 1, 12, tzinfo=UTC),
            datetime(2020, 1, 1, 14, tzinfo=timezone(timedelta(hours=2))),
        ),
        (coo([[0.0, 2.0]]), sparse.csr_array(np.array([[0.0, 2.0]]))),
        (2**60, Decimal(2**60)),
        ([2**60, 1], [1 << 60, 1.0]),
        (OutputFormat(LONG, "m"), OutputFormat(LONG.copy(), "m")),
        (np.array([(1, [2, 3])], dtype=PAIR)[0], {"a": 1, "b": [2, 3]}),
    ],
)
def test_equal_content_has_equal_digests(one: Any, other: Any) -> None:
    assert digests([one]) == digests([other])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": LONG}, {"a": np.zeros(5000)}),
        ({"a": torch.tensor(LONG)}, {"a": torch.zeros(5000)}),
        ({"a": 1}, {"b": 1}),
        (["1"], [1]),
        (["ab", "c"], ["a", "bc"]),
        ([[1, 2], [3, 4]], [1, 2, 3, 4]),
        ([2**60, 0.5], [2**60 + 1, 0.5]),
        (b"a", "a"),
        (np.datetime64("2020-01-01"), np.datetime64("2020-01-02")),
        (np.datetime64("2020-01-01"), np.datetime64("NaT")),
        (coo([[0.0, 2.0]]), coo([[2.0, 0.0]])),
        (OutputFormat(LONG, "m"), OutputFormat(LONG, "km")),
        (1 + 2j, 1 - 2j),
        (np.array([(1, [2, 3])], dtype=PAIR)[0], np.array([(1, [2, 4])], dtype=PAIR)[0]),
    ],
)
def test_other_content_has_other_digests(one: Any, other: Any) -> None:
    assert digests([one]) != digests([other])


def test_images_are_pixels_mode_and_palette() -> None:
    brighter = IMAGE.copy()
    brighter[0, 0, 0] += 1
    same = [image(IMAGE), image(IMAGE.copy())]
    others = [image(brighter), image(IMAGE, "L"), palette(1), palette(2)]
    assert number_contents(digests([*same, *others])).tolist() == [0, 0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "rows",
    [
        np.array(["2020-01-01", "2020-01-02", "2020-01-01"], dtype="M8[D]"),
        np.array([(1, [2, 3]), (1, [2, 4]), (1, [2, 3])], dtype=PAIR),
        torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]).to_sparse(),
        torch.tensor([[0.0], [1.0], [0.0]], dtype=torch.float8_e4m3fn),
        np.array([[[1], "a"], [[2], "a"], [[1], "a"]], dtype=object),
        np.array([[1.0, np.nan], [1.0, 2.0], [1.0, -np.nan]]),
        np.array([0.1, 0.2, 0.1], dtype=np.longdouble),
        [coo([0.0, 1.0]), coo([1.0, 1.0]), coo([0.0, 1.0])],
    ],
    ids=lambda rows: str(getattr(rows, "dtype", "list")),
)
def test_rows_of_any_type_are_compared(rows: Any) -> None:
    assert number_contents(digests(rows)).tolist() == [0, 1, 0]


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_rows_of_a_compressed_sparse_tensor() -> None:
    rows = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]).to_sparse_csr()
    assert number_contents(digests(rows)).tolist() == [0, 1, 0]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_cells_of_a_frame_are_compared(library: str) -> None:
    frames = pytest.importorskip(library, reason=f"{library} is not installed")
    times = [datetime(2020, 1, day) for day in (1, 1, 2, 1)]
    frame = frames.DataFrame(
        {
            "list": [[1, 2], [1, 2], [1, 2], [1, 3]],
            "time": times,
            "text": ["a", "a", "a", "a"],
            "gap": [None, None, 1.5, None],
        }
    )
    assert number_contents(digests(frame)).tolist() == [0, 0, 1, 2]
    assert digests([frame]) == digests([frame[:]])
    assert digests([frame]) != digests([frame[:3]])


def test_a_text_is_not_a_number_in_a_column() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    mixed = pandas.DataFrame({"a": [1, "1", 1, [1]]}, dtype=object)
    assert number_contents(digests(mixed)).tolist() == [0, 1, 0, 2]


def test_what_cannot_be_compared_is_named() -> None:
    class Opaque:
        pass

    with pytest.raises(DataError, match=r"record 1 holds a .*Opaque, which cannot be compared"):
        digests([{"a": 1}, {"a": [Opaque()]}])
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(DataError, match="row 0 holds itself"):
        digests([endless], "row {}".format)
