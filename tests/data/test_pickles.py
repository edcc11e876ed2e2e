"""Pickles may hold values and arrays, and call for nothing else."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from selena.data.pickles import load_pickle
from selena.errors import DataError
from tests.data.cifar_archives import python2_pickle

ARRAY = np.arange(256, dtype=np.uint8).reshape(4, 64)
VALUE = {"data": ARRAY, "labels": [0, 1], "name": "s\xe9", "nested": ({"a": [1.5, None, True]},)}


def by_python3(protocol: int) -> Callable[[object], bytes]:
    return lambda value: pickle.dumps(value, protocol)


@pytest.mark.parametrize("dumps", [python2_pickle, *map(by_python3, (0, 1, 2, 3, 4))])
def test_values_and_arrays_come_back(dumps: Callable[[object], bytes]) -> None:
    loaded = load_pickle(dumps(VALUE), name="file")
    assert np.array_equal(loaded.pop("data"), ARRAY)
    assert loaded == {key: value for key, value in VALUE.items() if key != "data"}


class Malicious:
    """Pickles as a call."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_command_is_refused_and_not_run(protocol: int, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    content = pickle.dumps({"data": Malicious(os.system, f"touch {witness}")}, protocol)
    with pytest.raises(DataError, match=r"batch 1: the pickle calls for (posix|nt)\.system"):
        load_pickle(content, name="batch 1")
    assert not witness.exists()


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"c__builtin__\neval\n(S'1+1'\ntR.", r"__builtin__\.eval"),
        (b"cbuiltins\ngetattr\n.", r"builtins\.getattr"),
        (b"(S'x'\nios\nsystem\n.", r"os\.system"),
        (b"cnumpy\nload\n.", r"numpy\.load"),
        (b"cnumpy\nndarray.tofile\n.", r"numpy\.ndarray\.tofile"),
        (b"c_codecs\ndecode\n.", r"_codecs\.decode"),
        (pickle.dumps(np.array([1], dtype=object)[0:0].tobytes), "builtins.getattr"),
    ],
)
def test_any_other_name_is_refused(content: bytes, wanted: str) -> None:
    with pytest.raises(DataError, match=wanted):
        load_pickle(content, name="file")


def test_persistent_objects_are_refused() -> None:
    with pytest.raises(DataError, match="file: this is no pickle"):
        load_pickle(b"Pid\n.", name="file")


def test_every_truncation_is_found() -> None:
    content = python2_pickle(VALUE)
    for length in range(len(content)):
        with pytest.raises(DataError, match="file: this is no pickle, or a damaged one"):
            load_pickle(content[:length], name="file")


def test_damaged_bytes_give_a_value_or_a_data_error() -> None:
    content = python2_pickle({"labels": [0, 1], "name": "x", "more": ({"a": [1.5, None]},)})
    for place in range(len(content)):
        for flip in (1, 0x20, 0x80, 0xFF):
            damaged = bytearray(content)
            damaged[place] ^= flip
            try:
                load_pickle(bytes(damaged), name="file")
            except DataError as error:
                assert str(error).startswith("file: ")  # noqa: PT017 - most, not all, must fail


def test_python3_in_band_arrays_come_back() -> None:
    loaded = load_pickle(pickle.dumps(VALUE, 5), name="file")
    assert np.array_equal(loaded["data"], ARRAY)


def test_values_shared_by_the_memo_come_back() -> None:
    loaded = load_pickle(python2_pickle({"a": ARRAY, "b": [ARRAY]}), name="file")
    assert np.array_equal(loaded["a"], ARRAY)
    assert np.array_equal(loaded["b"][0], ARRAY)


def number(value: int) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


POINTER = b"C\x08AAAAAAAA"
OBJECT_TYPE = name("numpy", "dtype") + b"X\x02\0\0\0O8\x89\x88\x87R"
EMPTY_ARRAY = (
    name("numpy.core.multiarray", "_reconstruct") + name("numpy", "ndarray") + b"K\0\x85C\x01b\x87R"
)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (name("numpy", "ndarray") + b"(K\x01\x85X\x01\0\0\0O" + POINTER + b"tR", "only stands for"),
        (EMPTY_ARRAY + b"(K\x01(K\x01t" + OBJECT_TYPE + b"\x89" + POINTER + b"tb", "type 'O8'"),
        (EMPTY_ARRAY, "unfinished"),
        (name("numpy", "ndarray"), "unfinished"),
    ],
    ids=["array over a buffer", "array of objects", "empty array", "name alone"],
)
def test_no_array_is_made_of_addresses(content: bytes, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        load_pickle(b"\x80\x02" + content + b".", name="file")


@pytest.mark.parametrize("shape", [(4, 65), (4, 63), (-4, -64), (1, 1, 1, 4, 64), (2**40, 2**40)])
def test_shapes_agree_with_the_bytes(shape: tuple[int, ...]) -> None:
    sizes = b"(" + b"".join(map(number, shape)) + b"t"
    kind = name("numpy", "dtype") + b"X\x02\0\0\0u1\x89\x88\x87R"
    content = EMPTY_ARRAY + b"(K\x01" + sizes + kind + b"\x89B\0\x01\0\0" + bytes(256) + b"tb"
    with pytest.raises(DataError, match="file: this is no pickle, or a damaged one"):
        load_pickle(b"\x80\x02" + content + b".", name="file")


def test_repeated_text_takes_no_memory() -> None:
    text = b"X" + struct.pack("<I", 1_000_000) + b"x" * 1_000_000 + b"q\0aX\x06\0\0\0latin1q\x01a"
    call = name("_codecs", "encode") + b"h\0h\x01\x86R"
    with pytest.raises(DataError, match="repeats its contents"):
        load_pickle(b"\x80\x02]" + text + (call + b"a") * 100 + b".", name="file")
