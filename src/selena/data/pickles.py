"""Reads Python pickles of plain values and arrays of bytes, without running them.

A pickle is a program. This reader interprets only the few instructions with which Python 2 and 3
write plain values and arrays (`pickletools` names them), and builds each value itself. An array is
made from bytes in the file, after its type and shape were checked.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from jaxtyping import UInt8

from selena.errors import DataError
from selena.files.reading import border

_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_BYTES = ("u1", "|u1", "B", "uint8")
_BOUND = 1 << 31  # limit of whole numbers: no label and no shape is larger


@dataclass(frozen=True)
class _Name:
    """A name that the pickle would import."""

    module: str
    name: str


class _ByteType:
    """Stands for NumPy's type of one unsigned byte."""


@dataclass
class _PickledArray:
    """Stands for an array until its contents are read."""

    values: UInt8[np.ndarray, "..."] | None = None


def load_pickle(content: bytes, *, name: str) -> Any:
    """Return what a pickle holds: dicts, lists, tuples, numbers, text, bytes and arrays of bytes.

    Strings of Python 2 become str, byte for byte (Latin-1).

    Args:
        content: the pickle.
        name: name of the pickle in error messages.

    Raises:
        DataError: if it is damaged, or holds or names anything else.
    """
    with border(name, "this is no pickle, or a damaged one", "Fetch it again."):
        return _Reader(name, 2 * len(content)).read(content)


@dataclass
class _Reader:
    """The stack that a pickle's instructions work on.

    Attributes:
        name: name of the pickle in error messages.
        budget: number of bytes that may still be decoded from text.
        stack: values since the last mark.
        below: stacks under earlier marks, outermost first.
        memo: stored values, by number.
    """

    name: str
    budget: int
    stack: list[Any] = field(default_factory=list)
    below: list[list[Any]] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def read(self, content: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name == "STOP":
                (value,), () = self.stack, self.below
                return self._finished(value)
            self._step(opcode.name, argument)
        raise ValueError("it does not end")

    def _step(self, opcode: str, argument: Any) -> None:
        if opcode in _IGNORED:
            return
        if opcode in _VALUES:
            if isinstance(argument, int) and not -_BOUND < argument < _BOUND:
                raise ValueError("a number is too large")
            self.stack.append(argument)
        elif opcode in _MADE:
            self.stack.append(_MADE[opcode]())
        elif opcode in _STEPS:
            _STEPS[opcode](self, argument)
        elif opcode == "INST":
            raise self._refused(_Name(*argument.split(" ", 1)))
        else:
            raise DataError(
                f"{self.name}: this is no pickle of data, it holds the instruction {opcode}. "
                "Fetch the published file."
            )

    def _put(self, place: int | None) -> None:
        self.memo[len(self.memo) if place is None else place] = self.stack[-1]

    def _name(self, argument: str | None) -> None:
        if argument is None:
            name, module = self.stack.pop(), self.stack.pop()
        else:
            module, name = argument.split(" ", 1)
        found = _Name(module, name)
        if found not in _KNOWN:
            raise self._refused(found)
        self.stack.append(found)

    def _refused(self, name: _Name) -> DataError:
        return DataError(
            f"{self.name}: the pickle calls for {name.module}.{name.name}. Data needs no such "
            "thing, and it could run any code, so nothing was loaded. Fetch the published file."
        )

    def _since_mark(self) -> list[Any]:
        values, self.stack = self.stack, self.below.pop()
        return values

    def _mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def _get(self, place: int) -> None:
        value = self.memo[place]
        filled = isinstance(value, _PickledArray) and value.values is not None
        self.stack.append(value.values if filled else value)

    def _tuple(self, size: int | None) -> None:
        if size is None:
            values = self._since_mark()
        else:
            values = self.stack[len(self.stack) - size :]
            if len(values) != size:
                raise ValueError("a tuple lacks parts")
            del self.stack[len(self.stack) - size :]
        self.stack.append(tuple(values))

    def _new(self, value: Any, fill: Callable[[_Reader, list[Any]], None]) -> None:
        parts = self._since_mark()
        self.stack.append(value)
        fill(self, parts)

    def _append(self, values: list[Any]) -> None:
        _of_type(self.stack[-1], list).extend(map(self._finished, values))

    def _set(self, values: list[Any]) -> None:
        keys, contents = values[::2], values[1::2]
        if not all(type(key) in (str, bytes, int) for key in keys):
            raise ValueError("a key is neither text nor a number")
        _of_type(self.stack[-1], dict).update(zip(keys, map(self._finished, contents), strict=True))

    def _reduce(self) -> None:
        """Build the result of an allowed call: an array, its type, or bytes written as text."""
        arguments, function = _of_type(self.stack.pop(), tuple), self.stack.pop()
        self.stack.append(_KNOWN[function](self, arguments))

    def _build(self) -> None:
        """Fill an array, or finish its type."""
        state, value = _of_type(self.stack.pop(), tuple), self.stack[-1]
        if isinstance(value, _ByteType):
            if state[1:3] != ("|", None):
                raise ValueError("a type of arrays is not bytes")
        elif isinstance(value, _PickledArray) and value.values is None:
            _, shape, kind, by_columns, content = state
            if isinstance(content, str):
                content = content.encode("latin-1")
            value.values = self._array(content, kind, shape, "F" if by_columns else "C")
            self.stack[-1] = value.values
        else:
            raise ValueError(f"a {type(value).__name__} cannot be filled")

    def _array(self, content: Any, kind: Any, shape: Any, order: str) -> UInt8[np.ndarray, "..."]:
        sizes = _of_type(shape, tuple)
        good = len(sizes) <= 4 and all(type(size) is int and size >= 0 for size in sizes)
        if not isinstance(kind, _ByteType) or not isinstance(content, bytes | bytearray):
            raise ValueError("an array is not made of bytes")
        if not good or prod(sizes) != len(content) or order != "C":
            raise ValueError(f"{len(content)} bytes are no array of shape {str(shape)[:40]}")
        return np.frombuffer(content, dtype=np.uint8).reshape(sizes)

    def _finished(self, value: Any) -> Any:
        """Return a value, or raise if a part of it is unfinished."""
        if isinstance(value, _Name | _ByteType | _PickledArray):
            raise ValueError(f"a part of it is unfinished ({type(value).__name__})")
        return value

    def _new_array(self, arguments: tuple[Any, ...]) -> _PickledArray:
        kind, shape, typecode = arguments
        if kind != _Name("numpy", "ndarray") or shape != (0,) or typecode not in (b"b", "b"):
            raise ValueError("an array is not made of bytes")
        return _PickledArray()

    def _new_type(self, arguments: tuple[Any, ...]) -> _ByteType:
        if arguments[0] not in _BYTES:
            shown = arguments[0] if isinstance(arguments[0], str) else type(arguments[0]).__name__
            raise DataError(
                f"{self.name}: the pickle holds an array of type {shown[:40]!r}. Only arrays of "
                "bytes ('u1') are read: fetch the published file."
            )
        return _ByteType()

    def _from_buffer(self, arguments: tuple[Any, ...]) -> UInt8[np.ndarray, "..."]:
        content, kind, shape, order = arguments
        return self._array(content, kind, shape, order)

    def _encoded(self, arguments: tuple[Any, ...]) -> bytes:
        text, encoding = arguments
        if encoding not in ("latin1", "latin-1"):
            raise ValueError("text has another encoding than Latin-1")
        content: bytes = _of_type(text, str).encode("latin-1")
        self.budget -= len(content)
        if self.budget < 0:
            raise ValueError("it repeats its contents")
        return content

    def _called_here(self, _: tuple[Any, ...]) -> Any:
        raise ValueError("a name is called that only stands for a type")


def _of_type(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"a {type(value).__name__} stands where a {kind.__name__} should")
    return value


_KNOWN: dict[_Name, Callable[[_Reader, tuple[Any, ...]], Any]] = {
    _Name("numpy", "ndarray"): _Reader._called_here,
    _Name("numpy", "dtype"): _Reader._new_type,
    _Name("_codecs", "encode"): _Reader._encoded,
    **{_Name(module, "_reconstruct"): _Reader._new_array for module in _NUMPY},
    **{_Name(module, "_frombuffer"): _Reader._from_buffer for module in _NUMERIC},
}
_IGNORED = frozenset({"PROTO", "FRAME"})
# Instructions that push their argument on the stack.
_NUMBERS = ("INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT")
_STRINGS = ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE")
_BINARY = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
_VALUES = frozenset((*_NUMBERS, *_STRINGS, *_BINARY))
_MADE: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_STEPS: dict[str, Callable[[_Reader, Any], None]] = {
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda r, place: r._put(place)),
    "MEMOIZE": lambda r, _: r._put(None),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda r, place: r._get(place)),
    "MARK": lambda r, _: r._mark(),
    "GLOBAL": lambda r, name: r._name(name),
    "STACK_GLOBAL": lambda r, _: r._name(None),
    "TUPLE": lambda r, _: r._tuple(None),
    "TUPLE1": lambda r, _: r._tuple(1),
    "TUPLE2": lambda r, _: r._tuple(2),
    "TUPLE3": lambda r, _: r._tuple(3),
    "LIST": lambda r, _: r._new([], _Reader._append),
    "APPEND": lambda r, _: r._append([r.stack.pop()]),
    "APPENDS": lambda r, _: r._append(r._since_mark()),
    "SETITEM": lambda r, _: r._set([r.stack.pop(-2), r.stack.pop()]),
    "SETITEMS": lambda r, _: r._set(r._since_mark()),
    "DICT": lambda r, _: r._new({}, _Reader._set),
    "REDUCE": lambda r, _: r._reduce(),
    "BUILD": lambda r, _: r._build(),
    "READONLY_BUFFER": lambda r, _: None,
}
