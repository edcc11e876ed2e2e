"""Digests of a user's own functions and classes, which change when their code is edited.

A digest covers all code of the user that a function uses: a factory's digest changes when the
network that it builds is edited. Installed packages are not covered; for the code of this package
see `fingerprint.code_digest`.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import PurePath
from types import CodeType, FunctionType, ModuleType
from typing import Any

Code = FunctionType | type

# Names in a class that hold its place in the source and its docstring.
_NOTES = {"__doc__", "__module__", "__firstlineno__", "__static_attributes__"}


def is_users(value: Code) -> bool:
    """Return whether a function or class belongs neither to this nor to an installed package."""
    top = (value.__module__ or "").partition(".")[0]
    if top == "selena" or top in sys.stdlib_module_names:
        return False
    file = getattr(sys.modules.get(value.__module__), "__file__", None) or ""
    return not {"site-packages", "dist-packages"} & set(PurePath(file).parts)


def user_code_digest(value: Code) -> str:
    """Return a digest of the code of `value` and of the user's own code that it uses."""
    used = [[_name(each), _content(each)] for each in _reached(value)]
    return sha256(json.dumps(used).encode()).hexdigest()[:16]


def held_values(function: FunctionType) -> list[object]:
    """Return the values, except code, that a function and the functions it uses refer to.

    These are default arguments and variables of enclosing scopes.
    """
    functions = [each for each in _reached(function) if isinstance(each, FunctionType)]
    return [
        [
            each.__defaults__,
            each.__kwdefaults__,
            *(value for value in _enclosed(each) if not isinstance(value, Code)),
        ]
        for each in functions
    ]


def _reached(start: Code) -> list[Code]:
    found = [start]
    for each in found:  # the list grows in the loop
        found += [used for used in dict.fromkeys(_uses(each)) if used not in found]
    return found


def _uses(value: Code) -> Iterator[Code]:
    """Yield functions and classes of the user's own that `value` names."""
    if isinstance(value, type):
        yield from (base for base in value.__mro__[1:] if is_users(base))
        for _, member in sorted(vars(value).items()):
            if isinstance(function := _function(member), FunctionType):
                yield from _uses(function)
        return
    names = list(_names(value.__code__))
    known = [value.__globals__.get(name) for name in names]
    modules = [each for each in known if isinstance(each, ModuleType)]
    known += [vars(module).get(name) for module in modules for name in names]
    for each in (*_enclosed(value), *known):
        if isinstance(each, Code) and is_users(each):
            yield each


def _content(value: Code) -> Any:
    if isinstance(value, FunctionType):
        plain = {
            name: repr(constant)
            for name in _names(value.__code__)
            if isinstance(constant := value.__globals__.get(name), str | int | float | tuple)
        }
        return [_code(value.__code__), plain]
    return [
        [name, _member(member)]
        for name, member in sorted(vars(value).items())
        if name not in _NOTES
    ]


def _member(value: object) -> Any:
    """Return the code of a method or property, or a constant; None for anything else."""
    function = _function(value)
    if isinstance(function, FunctionType):
        return _content(function)
    return value if isinstance(value, str | int | float) else None


def _function(member: object) -> object:
    """Return the function in a method, property, class method or static method."""
    if isinstance(member, property):
        return member.fget
    return getattr(member, "__func__", getattr(member, "func", member))


def _enclosed(function: FunctionType) -> list[object]:
    return list(inspect.getclosurevars(function).nonlocals.values())


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _code(code: CodeType) -> list[Any]:
    """Return the code of a function, without its place in the source."""
    constants = [
        _code(constant)
        if isinstance(constant, CodeType)
        else sorted(map(repr, constant))  # the order of sets differs between processes
        if isinstance(constant, frozenset)
        else repr(constant)
        for constant in code.co_consts
    ]
    return [code.co_code.hex(), code.co_names, code.co_varnames, code.co_freevars, constants]


def _name(value: Code) -> str:
    return f"{value.__module__}.{value.__qualname__}"
