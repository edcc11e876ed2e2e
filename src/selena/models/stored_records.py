"""Finds training records that are stored inside a model; such a model must not be released.

A k-nearest-neighbors classifier answers from its training records, a support vector machine from
some of them. Anyone with the file of such a model has the records; no attack is needed. Output
checkers of trusted research environments refuse these models (SACRO-ML; Ritchie et al., "Machine
learning models in trusted research environments", 2023). A model must pass two checks:

- by kind: it fails if a part of the model is of a kind that always stores training rows. This needs
  no records, and also finds rows that were transformed (scaled, some columns only).
- by content: it fails if an array inside the model holds rows equal to the given records. This
  finds unlisted kinds: prototypes, memory banks, caches, a class mean of a single record. Records
  are searched as given and as each step of a scikit-learn pipeline changes them, in float32.

Both inspect every object inside the model. They do not find copies that were encoded, compressed or
shuffled within a row, so a model that passes may still store records.

Cost: no query and no training; one pass over every array of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Shaped
from scipy import sparse
from torch import Tensor

from selena.auditing.stored_records import StoredPart, StoredRecords
from selena.errors import DataError
from selena.models.checks import warn
from selena.models.containers import contain
from selena.training.batches import as_input
from selena.types import Records

_KEPT = (
    "_fit_X",  # neighbors, local outlier factor, imputation by neighbors
    "support_vectors_",  # support vector machines
    "X_train_",  # Gaussian processes
    "X_fit_",  # kernel ridge regression, kernel PCA
    "X_",  # label propagation
    "training_data_",  # Isomap
)
"""Attributes in which scikit-learn's estimators keep rows of their training set."""

_TREES = ("KDTree", "BallTree")
_PLAIN = (str, bytes, int, float, complex, bool, type(None), type, ModuleType, np.dtype)
_DEEPEST = 40


def find_stored_records(model: Any, records: Any = None) -> StoredRecords:
    """Look for training records inside a model.

    Args:
        model: a fitted scikit-learn estimator or pipeline, an `nn.Module`, or any other object; its
            attributes are inspected, and it is not asked.
        records: features of training records in the container that the model takes, or `Records`;
            None checks by kind only. Rows of a single value (all zeros) are not searched.

    Raises:
        DataError: `records` holds no records.
    """
    what = type(model).__name__
    records = as_input(records.x) if isinstance(records, Records) else records
    forms = [] if records is None else list(_forms(model, records))
    parts, found = [], set[int]()
    for where, owner, value in _walk(model):
        name = where.rpartition(".")[2]
        by_kind = name in _KEPT or type(value).__name__.startswith(_TREES)
        for rows in _tables(value):
            equal = {row for form in forms for row in form.rows_in(rows)}
            if by_kind or equal:
                found |= equal
                told = None if records is None else len(equal)
                parts.append(StoredPart(where or what, owner, len(rows), told, by_kind))
    n = None if records is None else len(contain(records, "records"))
    return StoredRecords(
        model=what, parts=tuple(parts), records=n, found=None if n is None else len(found)
    )


def warn_of_stored_records(found: StoredRecords) -> None:
    """Warn where a model keeps training records."""
    if found.parts:
        first = found.parts[0]
        warn(
            f"The model keeps training records: {first.where} of {first.kind} holds {first.rows:,} "
            "rows. Whoever gets its file can read them, whatever attacks find; "
            "selena.find_stored_records lists all such parts.",
        )


@dataclass(frozen=True, eq=False)
class _Form:
    """The records as one step of a model sees them: contents, and which records have each."""

    width: int
    rows: Mapping[bytes, list[int]]

    def rows_in(self, table: Shaped[np.ndarray, "m d"]) -> list[int]:
        if table.shape[1] != self.width:
            return []
        return [row for content in set(_contents(table)) for row in self.rows.get(content, ())]


def _forms(model: Any, records: Any) -> Iterator[_Form]:
    """Yield the records as given, and as each pipeline inside the model changes them."""
    contain(records, "records")  # raises if there are none
    given = np.asarray(records) if isinstance(records, list | tuple) else records
    for table in _tables(given):
        yield _form(table)
    for _, _, value in _walk(model):
        steps = getattr(value, "steps", None)
        if not isinstance(steps, list):
            continue
        changed = records
        for _, step in steps[:-1]:
            if not hasattr(step, "transform"):
                continue
            try:
                changed = step.transform(changed)
            except Exception:  # an inner pipeline may not take the records
                break
            for table in _tables(changed):
                yield _form(table)


def _form(table: Shaped[np.ndarray, "m d"]) -> _Form:
    rows: dict[bytes, list[int]] = {}
    constant = (table == table[:, :1]).all(axis=1)  # such as zeros, found in arrays of weights
    for row, content in enumerate(_contents(table)):
        if not constant[row]:
            rows.setdefault(content, []).append(row)
    return _Form(table.shape[1], rows)


def _contents(table: Shaped[np.ndarray, "m d"]) -> list[bytes]:
    with np.errstate(over="ignore"):
        digits = np.ascontiguousarray(table.astype(np.float32) + 0.0)  # -0.0 becomes 0.0
    return [row.tobytes() for row in digits]


def _tables(value: Any) -> Iterator[Shaped[np.ndarray, "m d"]]:
    """Yield what a value holds as rows of numbers, if it does."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().to_dense().float().numpy()
    elif sparse.issparse(value):
        value = cast(Any, value).toarray()
    elif type(value).__name__.startswith(_TREES):
        value = np.asarray(value.data)
    elif hasattr(value, "iloc") or hasattr(value, "to_arrow"):
        try:
            value = contain(value, "a frame").numbers()
        except DataError:
            return
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "buif" or value.size == 0:
        return
    if value.ndim >= 2:
        yield value.reshape(len(value), -1)


def _walk(model: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield (path, class of the owner, value) of every object in a model, each once."""
    seen: set[int] = set()
    alive: list[Any] = []  # keeps temporary values alive, so that no id is used twice
    stack = [("", type(model).__name__, model, 0)]
    while stack:
        where, owner, value, depth = stack.pop()
        if isinstance(value, _PLAIN) or id(value) in seen or depth > _DEEPEST:
            continue
        seen.add(id(value))
        alive.append(value)
        yield where, owner, value
        kind = type(value).__name__
        parts = list(_parts(value))
        for name, part in reversed(parts):
            inner = kind if name.startswith(".") else owner
            stack.append(((where + name).lstrip("."), inner, part, depth + 1))


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield (name, part) of an object's attributes or of a container's items."""
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            yield from ((f"[{i}]", each) for i, each in enumerate(value.reshape(-1).tolist()))
    elif isinstance(value, torch.nn.Module):
        tensors = [*value.named_parameters(recurse=False), *value.named_buffers(recurse=False)]
        yield from ((f".{name}", tensor) for name, tensor in tensors)
        yield from ((f".{name}", child) for name, child in value.named_children())
        hidden = {"_parameters", "_buffers", "_modules"}  # just yielded
        saved = _saved_attributes(value).items()
        yield from ((f".{name}", part) for name, part in saved if name not in hidden)
    elif isinstance(value, Tensor) or sparse.issparse(value) or hasattr(value, "iloc"):
        return
    elif isinstance(value, Mapping):
        yield from ((f"[{key!r}]", part) for key, part in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"[{i}]", part) for i, part in enumerate(value))
    elif isinstance(value, MethodType):
        yield ".__self__", value.__self__
    elif isinstance(value, partial):
        yield from ((".func", value.func), (".args", value.args), (".keywords", value.keywords))
    elif isinstance(value, FunctionType):
        return  # the variables of a closure belong to the program, not to the model
    else:
        slots = [
            name
            for each in type(value).__mro__
            for name in _named(getattr(each, "__slots__", ()))
            if hasattr(value, name)
        ]
        yield from ((f".{name}", getattr(value, name)) for name in slots)
        yield from ((f".{name}", part) for name, part in _saved_attributes(value).items())


def _saved_attributes(value: Any) -> Mapping[str, Any]:
    """Return the attributes of an object as its pickle stores them.

    A `__getstate__` may leave some out, as Lightning's modules leave out their trainer, and with it
    the training data. It may also store others, which are inspected too.
    """
    attributes: Mapping[str, Any] = getattr(value, "__dict__", {})
    kind: Any = type(value)
    reduces = any(
        getattr(kind, name) is not getattr(object, name) for name in ("__reduce__", "__reduce_ex__")
    )
    if reduces or kind.__getstate__ is object.__getstate__:
        return attributes
    try:
        state = value.__getstate__()
    except Exception:  # it cannot be pickled
        return attributes
    return state if isinstance(state, dict) else attributes


def _named(slots: Any) -> tuple[str, ...]:
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))
