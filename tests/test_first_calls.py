"""Shapes and types are checked in the first calls of a function, in each test anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from beartype import beartype

from tests import first_calls


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(first_calls, "CALLS", 2)
    return first_calls._decorator(typechecker=beartype)


def test_first_calls_of_a_function_are_checked(check: Any) -> None:
    @check  # type: ignore[untyped-decorator]
    def double(n: int) -> int:
        return 2 * n

    for _ in range(2):
        for _ in range(2):
            with pytest.raises(Exception, match="Type-check error"):
                double("2")
        assert double("2") == "22"
        first_calls.begin_test()
    assert double(2) == 4


def test_records_are_checked_when_they_are_made(check: Any) -> None:
    @check
    @dataclass
    class Pair:
        first: int

    with pytest.raises(Exception, match="Type-check error"):
        Pair("1")  # type: ignore[arg-type]
    assert Pair(1).first == 1
