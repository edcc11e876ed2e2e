"""Python pickles that hold nothing but plain values and NumPy arrays.

A pickle is a program: loading one of unknown origin runs whatever it names. This unpickler
knows five names, those by which Python 2 and 3 write arrays and bytes, and refuses all others.
"""

from __future__ import annotations

import codecs
import io
import pickle
from typing import Any

import numpy as np

from selena.errors import DataError

_RECONSTRUCT = np.empty(0).__reduce__()[0]  # wherever this version of NumPy keeps it

_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("_codecs", "encode"): codecs.encode,
}


def load_pickle(content: bytes, *, name: str) -> Any:
    """Return what a pickle holds; strings of Python 2 become str, byte for byte (Latin-1).

    Args:
        content: the pickle.
        name: what error messages call it.

    Raises:
        DataError: if it is damaged, or names anything but arrays and bytes.
    """
    try:
        return _Unpickler(content, name).load()
    except DataError:
        raise
    except Exception as error:  # damaged bytes are any instruction, and fail in any way
        raise DataError(
            f"{name}: this is no pickle, or a damaged one ({type(error).__name__}: {error}). "
            "Fetch it again."
        ) from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self._name = name

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise DataError(
                f"{self._name}: the pickle calls for {module}.{name}. Data needs no such thing, "
                "and it could run any code, so nothing was loaded. Fetch the published file."
            ) from None
