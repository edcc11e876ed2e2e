"""Run folders: a trained model with everything needed to trust, attack and repeat it.

A run folder holds `manifest.json` (settings, seeds, data hash, code version, timings) and
`model.safetensors`; attacks add `scores/` and `audit.json`. The manifest is written last and holds
the hash of each file and one of itself. A folder without a manifest is incomplete and never used. A
file with another hash is an error, or is made anew.

Figures are never read from `audit.json`, but computed from the scores, so a better interval needs
no new attack. `audit.json` holds no times, so the same seed gives the same bytes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from selena.auditing.report import AuditReport
from selena.auditing.saved import described_report
from selena.auditing.scoring import AttackScores, unpack_scores
from selena.environment.fingerprint import code_digest, fingerprint, tensor_digest
from selena.errors import DataError, SelenaError, StoreError
from selena.experiments.manifest import Manifest, describe_audit
from selena.files.writing import file_sha256, json_text, write_json, write_text
from selena.types import Defense, StoredModel
from selena.workspace import save_tensors

_MANIFEST = "manifest.json"
_MODEL = "model.safetensors"
_AUDIT = "audit.json"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFolder:
    """One run on disk.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def scores_folder(self) -> Path:
        """The folder of finished attacks' scores."""
        return self.path / "scores"

    @property
    def is_trained(self) -> bool:
        """Whether the folder holds a finished model of this version of the training code.

        Raises:
            StoreError: the manifest is damaged, or another version wrote it.
        """
        if not (self.path / _MANIFEST).exists():
            return False
        manifest = self.manifest()
        if manifest.code.training != code_digest():
            return False
        if not _has_hash(self.path / _MODEL, manifest.model_sha256):
            _LOG.warning("%s is absent or damaged: it is trained anew.", self.path / _MODEL)
            return False
        return True

    def manifest(self) -> Manifest:
        """Return the manifest.

        Raises:
            StoreError: it is absent, damaged or edited, or another version wrote it.
        """
        path = self.path / _MANIFEST
        if not path.exists():
            raise StoreError(
                f"{self.path} is not a finished run: it has no {_MANIFEST}. Train it with "
                "`selena train`; a killed run goes on where it stopped."
            )
        return Manifest.load(path)

    def save_model(self, state: Mapping[str, Tensor], manifest: Manifest) -> None:
        """Write the model, then the manifest with its hash."""
        model = self.path / _MODEL
        # Each file is on the disk before the next one is written.
        save_tensors(model, state)
        self._write(replace(manifest, model_sha256=file_sha256(model)))

    def load_model(self) -> dict[str, Tensor]:
        """Return the model's state.

        Raises:
            StoreError: the model file is absent, or its hash is not the manifest's.
        """
        expected = self.manifest().model_sha256
        model = self.path / _MODEL
        try:
            content = model.read_bytes()
            if sha256(content).hexdigest() == expected:
                return load(content)
        except (OSError, SafetensorError):
            pass
        raise StoreError(
            f"{model} is absent or damaged (its SHA-256 is not the manifest's). Delete the folder "
            "and train again."
        )

    def restore(self, defense: Defense, device: torch.device | None = None) -> StoredModel:
        """Return the model of `defense`, computing on `device`.

        Raises:
            StoreError: as `load_model`; or the tensors are not those of such a model.
        """
        state = {name: tensor.to(device or "cpu") for name, tensor in self.load_model().items()}
        try:
            return defense.restore(state)
        except Exception as error:  # tensors of an unknown file may cause any error
            kind = "" if isinstance(error, SelenaError) else f"{type(error).__name__}: "
            raise StoreError(
                f"{self.path / _MODEL} holds no {type(defense).__name__} model "
                f"({kind}{error}). Delete the folder and train again."
            ) from error

    def save_audit(self, report: AuditReport, artifacts: Iterable[str]) -> None:
        """Add the hashes of an audit's scores to the manifest, and write `audit.json`.

        Args:
            report: the audit.
            artifacts: names of the files of scores in the folder, one per attack.
        """
        names = list(artifacts)
        digests = {f"{name}.safetensors": self._digest(f"{name}.safetensors") for name in names}
        self.save_audited(describe_audit(report, names), digests)

    def audited(self) -> dict[str, Any]:
        """Return the manifest's entry for the last audit; empty if there was none."""
        return self.manifest().audited

    def save_audited(
        self, audited: Mapping[str, Any], digests: Mapping[str, str] | None = None
    ) -> None:
        """Write an audit into the manifest, with the `digests` of new scores, and `audit.json`."""
        manifest = self.manifest()
        scores = {**manifest.scores, **(digests or {})}
        manifest = replace(manifest, audited=dict(audited), scores=scores)
        text = json_text(manifest.row(self._report(manifest)))
        write_text(self.path / _AUDIT, text)
        self._write(replace(manifest, audit_sha256=sha256(text.encode()).hexdigest()))

    def report(self) -> AuditReport:
        """Return the last audit, every figure computed from the scores.

        Raises:
            StoreError: the run was not attacked yet, or a file of scores is absent or damaged.
        """
        return self._report(self.manifest())

    def audit(self, report: AuditReport | None = None) -> dict[str, Any]:
        """Return the last audit as a row of results, without reading `audit.json`.

        Args:
            report: result of `report`, if it was already called.

        Raises:
            StoreError: as `report`.
        """
        manifest = self.manifest()
        row = _as_read(manifest.row(report or self._report(manifest)))
        if not _has_hash(self.path / _AUDIT, manifest.audit_sha256):
            _LOG.warning(
                "%s is absent or was edited. Its figures are not used: they are computed from the "
                "scores.",
                self.path / _AUDIT,
            )
        return row

    def scores(self, attack: str) -> AttackScores:
        """Return the scores of one attack of the last audit.

        Raises:
            StoreError: they are absent or damaged.
        """
        return self._scores(self.manifest(), attack)

    def discard_damaged_scores(self) -> None:
        """Remove files of scores whose hashes are not in the manifest."""
        for file, digest in self.manifest().scores.items():
            path = self.scores_folder / file
            if path.exists() and self._digest(file) != digest:
                _LOG.warning("%s was edited or is damaged: that attack is run anew.", path)
                path.unlink()

    def _report(self, manifest: Manifest) -> AuditReport:
        if not manifest.audited:
            raise StoreError(f"{self.path} holds no audit. Run `selena attack {self.path}` first.")
        wrong = manifest.check_audited()
        if wrong:
            raise StoreError(f"{self.path / _MANIFEST}: {wrong}. {self._attack_again}.")
        try:
            return described_report(manifest.audited, lambda name: self._scores(manifest, name))
        except DataError as error:
            raise StoreError(
                f"The scores in {self.scores_folder} make no audit ({error}) {self._attack_again}."
            ) from error

    def _scores(self, manifest: Manifest, attack: str) -> AttackScores:
        file = manifest.scores_file(attack)
        tensors = self._tensors(file)
        if tensors is None or _digest_of(tensors) != manifest.scores.get(file):
            raise StoreError(
                f"{self.scores_folder / file} is absent, edited or damaged (its hash is not the "
                f"manifest's). {self._attack_again}."
            )
        try:
            return unpack_scores(tensors)
        except StoreError as error:
            raise StoreError(f"{self.scores_folder / file}: {error}") from error

    def _tensors(self, file: str) -> dict[str, Tensor] | None:
        try:
            return load((self.scores_folder / file).read_bytes())
        except (OSError, SafetensorError):
            return None

    def _digest(self, file: str) -> str:
        tensors = self._tensors(file)
        return "" if tensors is None else _digest_of(tensors)

    def _write(self, manifest: Manifest) -> None:
        write_json(self.path / _MANIFEST, manifest.to_json())

    @property
    def _attack_again(self) -> str:
        return f"Run `selena attack {self.path}` again"


def _digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Return the hash of scores without their time.

    Two processes that attack one run at once write equal scores, but different times.
    """
    return fingerprint(
        {name: tensor_digest(tensor) for name, tensor in tensors.items() if name != "seconds"}
    )


def _has_hash(path: Path, expected: object) -> bool:
    try:
        return file_sha256(path) == expected
    except OSError:
        return False


def _as_read(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value as it is read back from JSON."""
    read: dict[str, Any] = json.loads(json_text(value))
    return read
