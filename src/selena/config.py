"""Settings: TOML files and overrides become frozen dataclasses; an unknown key is an error."""

from __future__ import annotations

import logging
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from selena.errors import ConfigError, unknown_name
from selena.files.reading import Limits, border

_LOG = logging.getLogger(__name__)
_RENAMED = {
    "k": "n_submodels",
    "l": "n_nonmodels",
    "group_column": "subject_column",
    "group_size": "cohort_size",
    "spread": "variance",
    "members": "n_members",
}
T = TypeVar("T")
_FRACTION = re.compile(r"(?<![\w.-])[+-]?[0-9_]+\.[0-9_]+(?![\w.])")


def read_toml(path: Path) -> dict[str, Any]:
    """Return the contents of a TOML file.

    Raises:
        ConfigError: the file is absent, is not TOML, or is too large or too deep for settings.
    """
    limits = Limits.from_environment()
    with border(path, "this is not valid TOML", error=ConfigError):
        with path.open("rb") as stream:  # pipes are allowed
            content = stream.read(limits.settings + 1)
        if len(content) > limits.settings:
            raise ConfigError(
                f"{path} has more than {limits.settings:,} bytes, too many for settings. If you "
                "trust the file, raise SELENA_MAX_SETTINGS in the environment."
            )
        text = content.decode("utf-8")
        _check_names(path, text, limits.depth)
        return tomllib.loads(text)


def _check_names(path: Path, text: str, depth: int) -> None:
    """Raise `ConfigError` for names with more than `depth` parts, which take too long to parse.

    Dots are counted per line, except in numbers.
    """
    for number, line in enumerate(text.splitlines(), start=1):
        if _FRACTION.sub("", line).count(".") >= depth:
            raise ConfigError(
                f"{path}, line {number}: a name has more than {depth} parts. If you trust the "
                "file, raise SELENA_MAX_DEPTH in the environment."
            )


def override(settings: T, changes: Mapping[str, Any], where: str = "") -> T:
    """Return `settings` (a frozen dataclass) with `changes` applied, including nested ones.

    Raises:
        ConfigError: an unknown key (the message names the nearest one) or a value of the wrong
            type.
    """
    assert is_dataclass(settings) and not isinstance(settings, type)
    hints = _hints(type(settings))
    known = [f.name for f in fields(settings)]
    values: dict[str, Any] = {}
    for given, value in changes.items():
        key = _current_name(given, known, where)
        name = f"{where}{key}"
        if key not in known:
            raise unknown_name("key", name, [f"{where}{k}" for k in known])
        current = getattr(settings, key)
        if is_dataclass(current) and isinstance(value, Mapping):
            values[key] = override(current, value, f"{name}.")
        else:
            values[key] = _coerced(value, hints[key], name)
    return replace(settings, **values)


@cache
def _hints(settings: type[Any]) -> dict[str, Any]:
    return get_type_hints(settings)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` applied, including nested ones."""
    result = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
        result[key] = merged(base[key], value) if nested else value
    return result


def _current_name(key: str, known: Sequence[str], where: str) -> str:
    """Return the current name of `key`; version 1.0 renamed some, and reads both until 2.0."""
    now = _RENAMED.get(key, key)
    if key in known or now not in known:
        return key
    _LOG.warning(
        "%s%s is called %s%s now. The old name will not be read by version 2.0.",
        where,
        key,
        where,
        now,
    )
    return now


def _coerced(value: Any, hint: Any, name: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        for option in arguments:
            try:
                return _coerced(value, option, name)
            except ConfigError:
                continue
    elif origin is Literal:
        if value in arguments:
            return value
    elif origin is tuple and isinstance(value, list | tuple):
        return tuple(_coerced(item, arguments[0], name) for item in value)
    elif origin in (dict, Mapping) and isinstance(value, Mapping):
        return dict(value)
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(hint, type) and isinstance(value, hint):
        if not (hint is int and isinstance(value, bool)):
            return value
    elif hint is Path and isinstance(value, str):
        return Path(value)
    raise ConfigError(f"{name}={value!r} has the wrong type; it must be {_words(hint)}.")


def _words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, get_args(hint)))
    return str(getattr(hint, "__name__", hint))
