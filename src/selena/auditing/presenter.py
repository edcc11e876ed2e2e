"""Gives `AuditReport` the functions that print, draw or write it, without importing them.

`selena.reports` imports audits, so audits cannot import it. `selena/__init__.py` imports both and
calls `present_by` once. The methods of `AuditReport` that print, draw or write look up their
function when they are called.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_named: list[str] = []


def present_by(module: str) -> None:
    """Set the name of the module with the functions; it is imported when one is needed."""
    _named[:] = [module]


def presenter(function: str) -> Any:
    """Return a function of the module that `present_by` named."""
    (module,) = _named
    return getattr(import_module(module), function)
