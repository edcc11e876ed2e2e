"""Loaders that fail in every way that counts, to see that each is counted."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from random import Random

from selena.errors import DataError


@dataclass(frozen=True)
class Planted:
    """What `Loader` has, without the imports of all that is under test."""

    file = "file"

    def seeds(self) -> list[bytes]:
        return [b""]

    def change(self, content: bytes, random: Random) -> bytes:
        return content

    def prepare(self, folder: Path) -> None:
        """Leave the folder empty."""

    def load(self, path: Path) -> object:
        return None


class Refusing(Planted):
    def load(self, path: Path) -> object:
        raise DataError("refused")


class Faulty(Planted):
    def load(self, path: Path) -> object:
        raise KeyError("a fault")


class Crashing(Planted):
    def load(self, path: Path) -> object:
        os.kill(os.getpid(), signal.SIGSEGV)
        return None


LOADERS = {"good": Planted(), "refusing": Refusing(), "faulty": Faulty(), "crashing": Crashing()}
