"""Whether JSON that was read has the names and types it must have."""

from __future__ import annotations

from typing import Any


def mismatch(value: object, shape: Any, where: str) -> str:
    """Return where `value` has another type than `shape` says, in words."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{where or 'it'} must be an object"
        for name, inner in shape.items():
            place = f"{where}.{name}" if where else name
            if name not in value:
                return f"{place} is lacking"
            wrong = mismatch(value[name], inner, place)
            if wrong:
                return wrong
        return ""
    if shape is float:
        right = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        right = isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
    return "" if right else f"{where} must be {_WORDS[shape]}"


_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
}
