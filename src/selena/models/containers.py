"""Containers of records (arrays, tensors, frames), and what an audit does with them.

A model gets records in the container that the user gave: a pipeline that selects columns by name
needs a frame, a network a tensor. So records are not converted; an audit only takes rows of a
container and joins two containers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from scipy import sparse
from torch import Tensor

from selena.errors import DataError
from selena.models.datasets import Parts

Rows = Int64[np.ndarray, " m"]
Numbers = Shaped[np.ndarray, "n *features"]

_FLOATS = {"float16", "bfloat16", "float32", "float64"}


@runtime_checkable
class Container(Protocol):
    """Records of one kind."""

    @property
    def values(self) -> Any:
        """The records as they were given."""
        ...

    def __len__(self) -> int:
        """Return the number of records."""
        ...

    def take(self, rows: Rows) -> Any:
        """Return the records at `rows`, in that order, in the same kind of container."""
        ...

    def join(self, other: Any) -> Any:
        """Return these records followed by those of `other`, which has the same kind.

        Raises:
            DataError: the features of the two differ.
        """
        ...

    def numbers(self) -> Numbers:
        """Return the records as one dense array of numbers.

        Raises:
            DataError: some feature is no number, or the records are sparse.
        """
        ...

    def like(self, numbers: Numbers) -> Any:
        """Return `numbers` in this kind of container, with its column names and fitting types."""
        ...


def contain(x: Any, what: str) -> Container:
    """Return the container of records `x`; `what` names them in messages.

    Raises:
        DataError: an unknown kind of container, or an empty one.
    """
    if isinstance(x, Mapping) and x and not hasattr(x, "iloc"):
        parts = {str(name): contain(part, f"{what}, {name!r}") for name, part in x.items()}
        sizes = {name: len(part) for name, part in parts.items()}
        if len(set(sizes.values())) > 1:
            raise DataError(f"{what}: the inputs have different numbers of records: {sizes}.")
        return Parts({name: part.values for name, part in parts.items()}, parts)
    for holds, kind in _KINDS:
        if holds(x):
            container = kind(x.detach().cpu() if isinstance(x, Tensor) else x)
            if (isinstance(x, Tensor | np.ndarray) and x.ndim == 0) or len(container) == 0:
                raise DataError(f"{what}: there are no records. Give at least one.")
            return container
    raise DataError(
        f"{what}: the features are a {type(x).__module__}.{type(x).__qualname__}. Give an array, a "
        "tensor, a pandas or polars frame, a SciPy sparse matrix, a list, or a dictionary of these."
    )


@dataclass(frozen=True, eq=False)
class _Counted:
    """Records whose number is their length."""

    values: Any

    def __len__(self) -> int:
        return len(self.values)


class _NumpyArray(_Counted):
    def take(self, rows: Rows) -> Any:
        return self.values[rows]

    def join(self, other: Any) -> Any:
        _agree(self.values.shape[1:], other.shape[1:], "shapes of a record")
        _agree_on_digits(self.values.dtype, other.dtype)
        try:
            return np.concatenate([self.values, other])
        except TypeError as error:  # structured, or times beside numbers
            raise DataError(
                f"the types are {self.values.dtype} and {other.dtype}; give both in one"
            ) from error

    def numbers(self) -> Numbers:
        return _numbers(self.values)

    def like(self, numbers: Numbers) -> Any:
        return numbers


class _Torch(_Counted):
    def take(self, rows: Rows) -> Any:
        if self.values.layout in (torch.strided, torch.sparse_coo):
            return self.values.index_select(0, torch.from_numpy(rows))
        # PyTorch cannot take rows of other sparse layouts.
        rest = self.values.to_sparse_coo().index_select(0, torch.from_numpy(rows))
        return rest.to_sparse(layout=self.values.layout)

    def join(self, other: Tensor) -> Any:
        _agree(self.values.shape[1:], other.shape[1:], "shapes of a record")
        _agree_on_digits(self.values.dtype, other.dtype)
        layout = self.values.layout
        if layout in (torch.strided, torch.sparse_coo):
            return torch.cat([self.values, other])
        both = torch.cat([self.values.to_sparse_coo(), other.to_sparse_coo()])
        return both.to_sparse(layout=layout)

    def numbers(self) -> Numbers:
        if self.values.layout != torch.strided:
            raise DataError("the features are sparse; give them dense (x.to_dense())")
        # NumPy has no bfloat16; float32 holds all its values exactly.
        exact = self.values.float() if self.values.dtype == torch.bfloat16 else self.values
        return np.asarray(exact.numpy())

    def like(self, numbers: Numbers) -> Any:
        made = torch.from_numpy(np.ascontiguousarray(numbers))
        return made.to(self.values.dtype) if self.values.is_floating_point() else made


class _List(_Counted):
    def take(self, rows: Rows) -> Any:
        return [self.values[row] for row in rows]

    def join(self, other: Sequence[Any]) -> Any:
        return [*self.values, *other]

    def numbers(self) -> Numbers:
        try:
            return _numbers(np.asarray(self.values))
        except ValueError as error:
            raise DataError("the features are lists of unequal lengths") from error
        except TypeError as error:  # what a record holds may refuse to be an array
            raise DataError(f"the features are no numbers ({error})") from error

    def like(self, numbers: Numbers) -> Any:
        return numbers.tolist()


class _Sparse(_Counted):
    def __len__(self) -> int:
        return int(self.values.shape[0])

    def take(self, rows: Rows) -> Any:
        return self.values.tocsr()[rows]

    def join(self, other: Any) -> Any:
        _agree(self.values.shape[1:], other.shape[1:], "numbers of features")
        _agree_on_digits(self.values.dtype, other.dtype)
        return sparse.vstack([self.values, other], format="csr")

    def numbers(self) -> Numbers:
        raise DataError("the features are sparse; give them dense (x.toarray())")

    def like(self, numbers: Numbers) -> Any:
        raise DataError("dense numbers are not made sparse")


class _Pandas(_Counted):
    def take(self, rows: Rows) -> Any:
        return self.values.iloc[rows]

    def join(self, other: Any) -> Any:
        if self.values.ndim == 2:
            _agree(list(self.values.columns), list(other.columns), "columns")
            for name, ours, theirs in zip(
                self.values.columns, self.values.dtypes, other.dtypes, strict=True
            ):
                if "category" in (ours.name, theirs.name) and ours != theirs:
                    raise DataError(
                        f"column {name!r} has other categories in members than in non-members; "
                        "cast both to one pandas.CategoricalDtype"
                    )
                _agree_on_digits(ours, theirs)
        return import_module("pandas").concat([self.values, other], ignore_index=True)

    def numbers(self) -> Numbers:
        if self.values.ndim == 1:
            return _numbers(self.values.to_numpy())
        for name, dtype in self.values.dtypes.items():
            if dtype.kind not in "buif":
                raise DataError(f"column {name!r} holds {dtype}, not numbers")
        return np.asarray(self.values.to_numpy(dtype=np.float64, na_value=np.nan))

    def like(self, numbers: Numbers) -> Any:
        if self.values.ndim == 1:
            return type(self.values)(numbers, name=self.values.name)
        frame = type(self.values)(numbers, columns=self.values.columns)
        return frame.astype(self.values.dtypes) if _whole(numbers) else frame


class _Polars(_Counted):
    def take(self, rows: Rows) -> Any:
        return self.values[rows]

    def join(self, other: Any) -> Any:
        if hasattr(self.values, "columns"):
            _agree(self.values.columns, other.columns, "columns")
        polars = import_module("polars")
        try:
            return polars.concat([self.values, other], rechunk=True)
        except polars.exceptions.PolarsError as error:
            raise DataError(f"the frames of members and of non-members differ: {error}") from error

    def numbers(self) -> Numbers:
        columns = self.values if hasattr(self.values, "columns") else self.values.to_frame()
        for name, dtype in columns.schema.items():
            if not (dtype.is_numeric() or str(dtype) == "Boolean"):
                raise DataError(f"column {name!r} holds {dtype}, not numbers")
        numbers = [column.cast(import_module("polars").Float64).to_numpy() for column in columns]
        return np.stack(numbers, axis=1) if columns is self.values else numbers[0]

    def like(self, numbers: Numbers) -> Any:
        if not hasattr(self.values, "columns"):
            return type(self.values)(self.values.name, numbers)
        frame = type(self.values)(numbers, schema=self.values.columns)
        return frame.cast(dict(self.values.schema)) if _whole(numbers) else frame


# Tried in this order. Frames are recognized by their methods, without importing their libraries.
_KINDS: tuple[tuple[Callable[[Any], bool], Callable[[Any], Container]], ...] = (
    (lambda x: isinstance(x, Tensor), _Torch),
    (lambda x: isinstance(x, np.ndarray), _NumpyArray),
    (sparse.issparse, _Sparse),
    (lambda x: hasattr(x, "iloc"), _Pandas),
    (lambda x: hasattr(x, "to_arrow") and hasattr(x, "__len__"), _Polars),
    (lambda x: isinstance(x, list | tuple), _List),
)


def _numbers(values: np.ndarray) -> Numbers:
    if values.dtype.kind not in "buif":
        raise DataError(f"the features are of type {values.dtype}, not numbers")
    return values


def _agree(ours: Any, theirs: Any, what: str) -> None:
    if tuple(ours) != tuple(theirs):
        raise DataError(
            f"the {what} of members and of non-members differ: {tuple(ours)} and {tuple(theirs)}"
        )


def _agree_on_digits(ours: Any, theirs: Any) -> None:
    """Refuse float32 beside float64: a record on both sides would not be recognized."""
    names = [str(dtype).lower().removeprefix("torch.") for dtype in (ours, theirs)]
    if names[0] != names[1] and _FLOATS.issuperset(names):
        raise DataError(
            f"features of members are {names[0]}, those of non-members {names[1]}: give both in "
            "one type, or records that are on both sides cannot be found"
        )


def _whole(numbers: Numbers) -> bool:
    """Whether an integer column of a frame can hold `numbers` exactly."""
    return bool((numbers == np.rint(numbers)).all())
