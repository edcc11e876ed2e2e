"""What shows and keeps a report: a module above this room, which the package names.

Reports import audits, so audits cannot import what shows them. `selena/__init__.py` stands above
both and calls `present_by` once. The methods of `AuditReport` that print, draw or write look their
function up when they are called.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_named: list[str] = []


def present_by(module: str) -> None:
    """Name the module that holds the functions; it is imported when one is needed."""
    _named[:] = [module]


def presenter(function: str) -> Any:
    """Return a function of the module that `present_by` named."""
    (module,) = _named
    return getattr(import_module(module), function)
