"""Checks shapes and types in the first call of a function per test, not in all of them.

jaxtyping's import hook decorates every function of the package. Its checks of a call take longer
than most of these functions, half of the suite's time; to prepare a function for them takes
milliseconds more. So only the first call of a function in each test is checked; the cases of a
parametrized test count as one test. A function that is defined in another one, hence anew in each
call, is never checked. With `SELENA_CHECK_EVERY_CALL=1`, which continuous integration sets, every
call of every function is checked.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import is_dataclass
from functools import partial, wraps
from typing import Any

import jaxtyping

_check_every_call = jaxtyping.jaxtyped
_test = ""
_tests = 0


def install() -> None:
    """Let jaxtyping's hook decorate what is imported from now on by this module."""
    if not os.environ.get("SELENA_CHECK_EVERY_CALL"):
        jaxtyping.jaxtyped = _decorator  # type: ignore[assignment]


def begin_test(name: str) -> None:
    """Check first calls anew, unless `name` is the same test with another case."""
    global _test, _tests  # noqa: PLW0603
    if name != _test:
        _test = name
        _tests += 1


def _decorator(*, typechecker: Any) -> Callable[[Any], Any]:
    return partial(_decorate, partial(_check_every_call, typechecker=typechecker))


def _decorate(check: Callable[[Any], Any], found: Any) -> Any:
    if "<locals>" in found.__qualname__:
        return found
    if isinstance(found, type):
        if is_dataclass(found) and "__init__" in vars(found):
            type.__setattr__(found, "__init__", _first_calls(check, vars(found)["__init__"]))
        return found
    return _first_calls(check, found)


def _first_calls(check: Callable[[Any], Any], function: Any) -> Any:
    checked: Any = None
    test = 0  # what is called before any test is not checked

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal checked, test
        if test == _tests:
            return function(*args, **kwargs)
        test = _tests
        checked = checked or check(function)
        return checked(*args, **kwargs)

    return call
