"""Shapes and types are checked in the first call of a function, in each test anew."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from beartype import beartype

from tests import first_calls

CHECK = first_calls._decorator(typechecker=beartype)


def double(n: int) -> int:
    return 2 * n


@dataclass
class Pair:
    first: int


def test_first_call_of_a_function_is_checked() -> None:
    checked = CHECK(double)
    for i in range(2):
        with pytest.raises(Exception, match="Type-check error"):
            checked("2")
        assert checked("2") == "22"
        first_calls.begin_test(str(i))
    assert checked(2) == 4


def test_cases_of_a_test_count_as_one() -> None:
    checked = CHECK(double)
    first_calls.begin_test("a")
    checked(1)
    first_calls.begin_test("a")
    assert checked("2") == "22"


def test_calls_before_any_test_are_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_calls, "_tests", 0)
    assert CHECK(double)("2") == "22"


def test_records_are_checked_when_they_are_made() -> None:
    checked = CHECK(Pair)
    with pytest.raises(Exception, match="Type-check error"):
        checked("1")
    assert checked(1).first == 1


def test_functions_in_functions_are_left_alone() -> None:
    def inner() -> None: ...

    assert CHECK(inner) is inner
