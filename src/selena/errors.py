"""The exceptions of this library, each with the exit code of the command line."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SelenaError(Exception):
    """An error that a user can fix; the message says what is wrong and how to fix it."""

    exit_code = 2


class DataError(SelenaError, ValueError):
    """Records, files or partitions that cannot be used as they are."""


class ConfigError(SelenaError, ValueError):
    """A setting, a name or a key that is unknown or out of range."""


class TrainingError(SelenaError):
    """Training that cannot continue, for example because the loss is no longer finite."""

    exit_code = 1


class ClusterError(SelenaError):
    """Machines that cannot be reached, may not take part, or failed."""

    exit_code = 1


class StoreError(SelenaError):
    """A run folder or file that is incomplete, damaged, outdated or of another run."""


class AccessError(SelenaError):
    """An attack that asks the oracle for more than its declared access."""


class AuditWarning(UserWarning):
    """Something that makes a figure, or a guarantee, weaker than it looks."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """Build the error for an unknown key or name; it points to the nearest known one."""
    choices = sorted(known)
    nearest = get_close_matches(name, choices, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return ConfigError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(choices)}.")
