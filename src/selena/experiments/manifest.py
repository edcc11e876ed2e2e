"""A run's manifest: the only place that knows its keys.

Everything is checked before it is read: the schema, the manifest's hash of itself, names and types.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, cast, get_origin, get_type_hints

import torch

from selena.auditing.report import AuditReport
from selena.auditing.saved import check_described, describe_report, mismatch
from selena.environment.fingerprint import code_digest
from selena.environment.version import __version__
from selena.errors import StoreError
from selena.files.writing import json_text
from selena.reports.runs import RunHead

SCHEMA = "selena-run-folder/2"
_SEAL = "sha256"
_LARGEST = 64 << 20
"""Largest size in bytes of a manifest that is read."""
_FIX = "Restore it, or delete the folder and train again"
_FILE = re.compile(r"[\w.-]+\.safetensors", re.ASCII)


@dataclass(frozen=True)
class CaseSettings:
    """What was trained, as plain values (see `pipeline.Case`)."""

    data: dict[str, Any]
    defense: str
    seed: int
    selection: str
    plan: dict[str, Any]
    defense_settings: dict[str, Any]


@dataclass(frozen=True)
class DataIdentity:
    """What tells one data set's contents from another's."""

    name: str
    records: int
    classes: int
    sha256: str
    source: str
    synthetic: bool


@dataclass(frozen=True)
class CodeVersion:
    """The code that trained a model; `training` is the hash of everything a model depends on."""

    version: str = __version__
    training: str = field(default_factory=code_digest)
    torch: str = str(torch.__version__)


@dataclass(frozen=True)
class Timings:
    """What a run took."""

    train_seconds: float


@dataclass(frozen=True)
class Manifest:
    """What a run folder says of itself.

    Attributes:
        settings: what was trained.
        data: on which data set.
        partition: sizes of the parts that were asked for, and canaries.
        split: sizes of the parts that were drawn.
        selected_on_evaluation: whether the weights were selected on evaluation data.
        timings: seconds of training.
        code: version of the code.
        model_sha256: hash of the model's file; empty before it is written.
        numeric: conditions besides settings and seed that a run's bytes depend on.
        audited: description of the last audit without its scores; empty if there was none.
        scores: hash of each file of scores.
        audit_sha256: hash of `audit.json`; empty if there was no audit.
    """

    settings: CaseSettings
    data: DataIdentity
    partition: dict[str, Any]
    split: dict[str, Any]
    selected_on_evaluation: bool
    timings: Timings
    code: CodeVersion = field(default_factory=CodeVersion)
    model_sha256: str = ""
    numeric: dict[str, Any] = field(default_factory=dict)
    audited: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, str] = field(default_factory=dict)
    audit_sha256: str = ""

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Return the manifest at `path`.

        Raises:
            StoreError: it is damaged or edited, or another version wrote it.
        """
        document = _read_json(path)
        if document.get("schema") != SCHEMA:
            raise StoreError(
                f"{path} has schema {document.get('schema')!r}; this version of selena reads "
                f"{SCHEMA!r}. Delete the folder and train again."
            )
        if document.get(_SEAL) != seal(document):
            raise StoreError(f"{path} was edited or is damaged: its own hash differs. {_FIX}.")
        wrong = mismatch(document, _shape(cls), "") or _check_scores(document.get("scores", {}))
        if wrong:
            raise StoreError(f"{path}: {wrong}. {_FIX}.")
        return cast("Manifest", _build(cls, document))

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as it is written, with its own hash; absent parts are left out."""
        plain = {k: v for k, v in asdict(self).items() if v or k not in _MAY_LACK}
        return sealed({**plain, "schema": SCHEMA})

    def row(self, report: AuditReport) -> dict[str, Any]:
        """Return a row of results: the part that describes the run itself, and its audit."""
        made, data = self.settings, self.data
        head = RunHead(
            made.defense, made.seed, data.name, data.synthetic, self.selected_on_evaluation
        )
        return head.row(report)

    def attack_settings(self) -> dict[str, dict[str, Any]]:
        """Return the hyperparameters of each attack of the last audit, by its name."""
        attacks = self.audited.get("attacks", {})
        return {name: about["settings"] for name, about in attacks.items()}

    def scores_file(self, attack: str) -> str:
        """Return the name of the file that holds the scores of an attack of the last audit."""
        return str(self.audited["attacks"][attack]["scores"])

    def check_audited(self) -> str:
        """Return what is wrong with `audited`, or an empty text."""
        wrong = check_described(self.audited, "audited")
        for name, about in {} if wrong else self.audited["attacks"].items():
            if not _is_file(about.get("scores"), ""):
                return f"audited.attacks.{name}.scores names no file of scores"
        return wrong


_MAY_LACK = ("numeric", "audited", "scores", "audit_sha256")


def describe_audit(report: AuditReport, artifacts: Iterable[str]) -> dict[str, Any]:
    """Return what a manifest says of an audit whose scores are in files of these names."""
    files = {name.rpartition("-")[0]: f"{name}.safetensors" for name in artifacts}
    described = describe_report(report)
    for name, about in described["attacks"].items():
        about["scores"] = files[name]
    return described


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` as they are read back from JSON, with their hash."""
    document: dict[str, Any] = json.loads(json_text(values))
    return {**document, _SEAL: seal(document)}


def seal(document: Mapping[str, Any]) -> str:
    """Return the hash of everything in a manifest except the hash itself."""
    rest = {name: value for name, value in document.items() if name != _SEAL}
    return sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def is_run_file(name: str) -> bool:
    """Return whether a run folder has files of this name (`scores/...` for those of scores)."""
    inside = name.removeprefix("scores/")
    own = name in ("manifest.json", "model.safetensors", "audit.json")
    return own or (inside != name and _FILE.fullmatch(inside) is not None)


def _shape(kind: Any) -> dict[str, Any]:
    """Return names and types of the fields that must not lack, as `mismatch` takes them."""
    return {
        name: _shape(hint) if is_dataclass(hint) else get_origin(hint) or hint
        for name, hint in get_type_hints(kind).items()
        if name not in _MAY_LACK
    }


def _build(kind: Any, values: Mapping[str, Any]) -> Any:
    hints = get_type_hints(kind)
    found = {f.name: values[f.name] for f in fields(kind) if f.name in values}
    return kind(
        **{k: _build(hints[k], v) if is_dataclass(hints[k]) else v for k, v in found.items()}
    )


def _check_scores(scores: object) -> str:
    if not isinstance(scores, dict):
        return "scores must be an object"
    names = [name for name, value in scores.items() if not _is_file(name, value)]
    return f"scores holds {names[0]!r}, which names no file of scores" if names else ""


def _is_file(name: object, digest: object) -> bool:
    return isinstance(name, str) and _FILE.fullmatch(name) is not None and isinstance(digest, str)


def _read_json(path: Path) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
            raise ValueError(f"not a file of at most {_LARGEST >> 20} MiB")
        read = json.loads(path.read_bytes(), parse_constant=refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} is damaged ({error}). {_FIX}.") from error
    if not isinstance(read, dict):
        raise StoreError(f"{path} holds no JSON object. {_FIX}.")
    return read
