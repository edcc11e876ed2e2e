"""Run folders: a trained model with everything needed to trust, attack and repeat it.

A run folder holds `manifest.json` (settings, seeds, data hash, code version, timings) and
`model.safetensors`; attacks add `scores/` and `audit.json`. The manifest is written last and
carries the model's hash, so a folder without it, or one that disagrees with it, is half-written
and never used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from selena.auditing.report import SCHEMA as AUDIT_SCHEMA
from selena.errors import StoreError
from selena.files import file_sha256, write_json
from selena.fingerprint import code_digest
from selena.version import __version__
from selena.workspace import save_tensors

SCHEMA = "selena-run-folder/1"
_MANIFEST = "manifest.json"
_MODEL = "model.safetensors"
_AUDIT = "audit.json"


@dataclass(frozen=True)
class RunFolder:
    """One run on disk.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def is_trained(self) -> bool:
        """Whether a finished model lies here (made by this version of the training code)."""
        if not (self.path / _MANIFEST).exists():
            return False
        return bool(self.manifest()["code"]["training"] == code_digest())

    def manifest(self) -> dict[str, Any]:
        """Return the manifest.

        Raises:
            StoreError: there is none, it is damaged, or another schema wrote it.
        """
        path = self.path / _MANIFEST
        if not path.exists():
            raise StoreError(
                f"{self.path} is not a finished run: it has no {_MANIFEST}. Train it with "
                "`selena train`; a killed run goes on where it stopped."
            )
        keys = {"settings", "data", "code", "model_sha256", "timings"}
        return _read(path, SCHEMA, keys, mend="Delete the folder and train again")

    def save_model(
        self, state: Mapping[str, Tensor], settings: Mapping[str, Any], seconds: float
    ) -> None:
        """Write the model, then the manifest that vouches for it."""
        self.path.mkdir(parents=True, exist_ok=True)
        model = self.path / _MODEL
        save_tensors(model, state)
        write_json(
            self.path / _MANIFEST,
            {
                "schema": SCHEMA,
                **settings,
                "code": {
                    "version": __version__,
                    "training": code_digest(),
                    "torch": torch.__version__,
                },
                "model_sha256": file_sha256(model),
                "timings": {"train_seconds": seconds},
            },
        )

    def load_model(self) -> dict[str, Tensor]:
        """Return the model's state.

        Raises:
            StoreError: the model file is absent or is not the one the manifest vouches for.
        """
        expected = self.manifest()["model_sha256"]
        model = self.path / _MODEL
        if not model.exists() or file_sha256(model) != expected:
            raise StoreError(
                f"{model} is absent or damaged (its SHA-256 is not the manifest's). Delete the "
                "folder and train again."
            )
        return load_file(model)

    def save_audit(self, audit: Mapping[str, Any]) -> None:
        """Write `audit.json`; the same seed gives the same bytes."""
        write_json(self.path / _AUDIT, audit)

    def audit(self) -> dict[str, Any]:
        """Return `audit.json`.

        Raises:
            StoreError: the run was not attacked yet, or the file is damaged.
        """
        path = self.path / _AUDIT
        if not path.exists():
            raise StoreError(f"{self.path} holds no audit. Run `selena attack {self.path}` first.")
        keys = {"defense", "seed", "attacks", "best"}
        return _read(path, AUDIT_SCHEMA, keys, mend=f"Run `selena attack {self.path}` again")


def _read(path: Path, schema: str, keys: set[str], *, mend: str) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} is damaged ({error}). {mend}.") from error
    found = read.get("schema") if isinstance(read, dict) else None
    if found != schema:
        raise StoreError(f"{path} has schema {found!r}; this version reads {schema!r}. {mend}.")
    if not keys <= set(read):
        raise StoreError(f"{path} lacks {', '.join(sorted(keys - set(read)))}. {mend}.")
    return dict(read)
