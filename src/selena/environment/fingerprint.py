"""Fingerprints of artifacts: hashes of settings, tensors and code.

A kept artifact is looked up by its fingerprint. Other settings, data, seeds or training code give
another name, so a stale or foreign artifact is never reused.

The code of a user covers all of the user's own functions and classes that a function uses: a
factory's digest changes when the network that it builds is edited. Installed packages are not
covered; for the code of this package see `code_digest`.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache, partial
from hashlib import sha256
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

TRAINING_CODE = (
    "content",
    "data",
    "networks",
    "training",
    "defenses",
    "environment/processor.py",
    "seeding.py",
    "types.py",
)
"""Packages whose code determines trained models."""

Code = FunctionType | type

# Names in a class that hold its place in the source and its docstring.
_NOTES = {"__doc__", "__module__", "__firstlineno__", "__static_attributes__"}

_FEW = 1000  # most numbers of an array that are described one by one


def describe(value: object) -> Any:
    """Return `value` (dataclasses, tensors, callables, plain values) as JSON-able data.

    A user's own functions and classes are described with their code, so artifacts are not found
    again after they were edited. An object that cannot be described equals only itself, and only
    in this process.
    """
    if is_dataclass(value) and not isinstance(value, type):
        described = {f.name: describe(getattr(value, f.name)) for f in fields(value)}
        return _describe_type(type(value)) | described
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Tensor):
        return tensor_digest(value)
    if isinstance(value, np.ndarray) and value.size > _FEW and not value.dtype.hasobject:
        name = f"{value.shape}{value.dtype}".encode()
        return sha256(name + np.ascontiguousarray(value).tobytes()).hexdigest()
    if isinstance(value, np.ndarray | np.generic):
        return describe(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [describe(item) for item in value]
    if isinstance(value, Set):
        return sorted(json.dumps(describe(item), sort_keys=True) for item in value)
    if isinstance(value, Path | Enum | torch.dtype | torch.device):
        return str(value)
    if isinstance(value, type):
        return _describe_type(value)
    return _describe_object(value)


def _describe_object(value: Any) -> Any:
    if isinstance(value, partial):
        return {"partial": describe([value.func, value.args, value.keywords])}
    if isinstance(value, MethodType):
        return {"method": describe([value.__func__, value.__self__])}
    if isinstance(value, FunctionType):
        return {
            "function": f"{value.__module__}.{value.__qualname__}",
            "code": user_code_digest(value),
            "values": describe(held_values(value)),
        }
    if isinstance(value, BuiltinFunctionType):
        return f"{value.__module__}.{value.__qualname__}"
    if _is_unfitted_estimator(value):
        package = type(value).__module__.partition(".")[0]
        made_by = getattr(sys.modules.get(package), "__version__", None)
        params = describe(value.get_params(deep=False))
        return _describe_type(type(value)) | {"params": params, "version": str(made_by)}
    return f"{type(value).__qualname__} {_token(value)}"


def _is_unfitted_estimator(value: object) -> bool:
    """Return whether class and parameters describe the object, by scikit-learn's rules."""
    if isinstance(value, type) or not hasattr(value, "__sklearn_tags__"):
        return False
    if hasattr(value, "__sklearn_is_fitted__"):
        return not value.__sklearn_is_fitted__()
    return not any(name.endswith("_") and not name.startswith("__") for name in vars(value))


def _describe_type(kind: type) -> dict[str, Any]:
    """Return a class's name, and its code if a user wrote it."""
    if is_users(kind):
        return {"type": kind.__qualname__, "code": user_code_digest(kind)}
    within = kind.__module__.partition(".")[0] == "selena"
    return {"type": kind.__qualname__ if within else f"{kind.__module__}.{kind.__qualname__}"}


_TOKENS: WeakKeyDictionary[object, str] = WeakKeyDictionary()


def _token(value: object) -> str:
    """Return a name that no other object has, here or in another process."""
    try:
        return _TOKENS.setdefault(value, uuid4().hex)
    except TypeError:  # it cannot be a key, so not even the same object is found again
        return uuid4().hex


def fingerprint(*parts: object) -> str:
    """Return the SHA-256 (hex) of the descriptions of `parts`."""
    text = json.dumps([describe(part) for part in parts], sort_keys=True)
    return sha256(text.encode()).hexdigest()


def tensor_digest(*tensors: Tensor) -> str:
    """Return the SHA-256 (hex) of the shapes, types and bytes of `tensors`."""
    digest = sha256()
    for tensor in tensors:
        flat = tensor.detach().cpu().contiguous()
        digest.update(f"{tuple(flat.shape)}{flat.dtype}".encode())
        digest.update(flat.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@cache
def code_digest(*rooms: str) -> str:
    """Return the SHA-256 (hex) of the code of `rooms`.

    Each of `rooms` is a folder or file of this package; by default those of `TRAINING_CODE`.
    """
    root = Path(__file__).parents[1]
    digest = sha256()
    for room in rooms or TRAINING_CODE:
        path = root / room
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(str(file.relative_to(root)).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


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
