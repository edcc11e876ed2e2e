"""Run folders of a real, tiny experiment as one file each, and mutations of them."""

from __future__ import annotations

import io
import json
import random
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from selena.errors import SelenaError
from selena.experiments.manifest import Manifest, Timings, seal
from selena.experiments.pipeline import Case, DataSettings, RunSettings
from selena.experiments.results import read_results, run
from selena.experiments.store import RunFolder, _digest_of
from selena.files.writing import file_sha256
from selena.workspace import Workspace

QUICK = {"epochs": 2, "precision": "float32"}
SETTINGS = RunSettings(
    data=DataSettings("digits", n_members=200),
    defenses=("undefended",),
    attacks=("confidence", "correctness"),
    plan={"hidden": [8], "training": QUICK},
)

# What nobody expects where a value stands.
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**63, 10**400, 0.5, 1e308, "", "x", "../../etc/passwd", "\ud800",
    "a\nb", [], [1], {}, {"a": 1}, [[[[]]]],
)  # fmt: skip


def make_run_folder(runs: Path) -> RunFolder:
    """Train and attack one run in about a second."""
    return RunFolder(run(SETTINGS, runs).folders[0])


@cache
def packed_run() -> bytes:
    """Return a run folder in one file; its times are 0, so that the bytes are always the same."""
    with tempfile.TemporaryDirectory() as runs:
        made = make_run_folder(Path(runs))
        kept = Workspace(folder=made.scores_folder)
        for path in made.scores_folder.iterdir():
            scores = kept.load(path.stem) or {}
            kept.save(path.stem, {**scores, "seconds": torch.zeros((), dtype=torch.float64)})
        made._write(replace(made.manifest(), timings=Timings(0.0)))
        made.save_audited(made.audited())
        return _pack(made.path)


def read_packed_run(path: Path) -> None:
    """Read all of a packed run folder.

    Raises:
        SelenaError: it is refused.
        AssertionError: the error does not name it, or its manifest is that of `packed_run` and its
            results are not.
    """
    folder = path.parent / "run"
    shutil.rmtree(folder, ignore_errors=True)
    _unpack(path.read_bytes(), folder)
    manifest, rows = _original()
    found = RunFolder(folder)
    with _named(folder):
        results = read_results([folder])
        case = Case.from_run(found)
    assert results.rows == rows or found.manifest() != manifest, results.rows
    defense = case.build_defense(case.dataset())  # an error names a setting or the data set
    with _named(folder):
        found.restore(defense)


def change_packed_run(content: bytes, draw: random.Random) -> bytes:
    """Change one or two files of a packed run folder; often as one who knows how it is sealed."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "run")
        _unpack(content, folder)
        for _ in range(draw.choice((1, 1, 1, 2))):
            mutate(folder, draw)
        if draw.random() < 0.5:
            _seal_again(folder)
        return _pack(folder)


def mutate(folder: Path, draw: random.Random) -> None:
    """Change one file of a run folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifests = [path for path in files if path.suffix == ".json"]
    change = draw.choice(_CHANGES)
    choice = manifests if change in _JSON_CHANGES else files
    if choice:
        change(draw.choice(choice), draw)


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    """Raise `AssertionError` where an error does not say which folder is wrong."""
    try:
        yield
    except SelenaError as error:
        if str(folder) not in str(error):
            raise AssertionError(f"no place: {error}") from error
        raise


@cache
def _original() -> tuple[Manifest, list[dict[str, Any]]]:
    with tempfile.TemporaryDirectory() as place:
        _unpack(packed_run(), Path(place, "run"))
        return RunFolder(Path(place, "run")).manifest(), read_results([Path(place, "run")]).rows


def _pack(folder: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder)) + ("/" if path.is_dir() else "")
            archive.writestr(zipfile.ZipInfo(name), b"" if path.is_dir() else path.read_bytes())
    return stream.getvalue()


def _unpack(content: bytes, folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder)


def _seal_again(folder: Path) -> None:
    """Write the hashes of changed files into the manifest, where it can be read."""
    found = RunFolder(folder)
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_bytes())
        manifest["scores"] = {
            file.name: _digest_of(found._tensors(file.name) or {})
            for file in found.scores_folder.iterdir()
        }
        for name, key in (("model.safetensors", "model_sha256"), ("audit.json", "audit_sha256")):
            manifest[key] = file_sha256(folder / name)
        manifest["sha256"] = seal(manifest)
        path.write_text(json.dumps(manifest))
    except (ValueError, TypeError, OSError, RecursionError):  # there is no manifest left to seal
        pass


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = [at] if at else []
    for key, each in inner:
        if isinstance(each, dict | list):
            found += _places(each, (*at, key))
        else:
            found.append((*at, key))
    return found


def _edit(path: Path, draw: random.Random, change: Callable[[Any, Any], None]) -> None:
    try:
        content = json.loads(path.read_text())
        place = draw.choice(_places(content))
    except (ValueError, IndexError, AttributeError, TypeError, OSError, RecursionError):
        path.write_text("[]")
        return
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    change(inner, place[-1])
    path.write_text(json.dumps(content))


def replace_value(path: Path, draw: random.Random) -> None:
    def change(inner: Any, key: Any) -> None:
        inner[key] = draw.choice(_VALUES)

    _edit(path, draw, change)


def nudge_number(path: Path, draw: random.Random) -> None:
    def change(inner: Any, key: Any) -> None:
        value = inner[key]
        inner[key] = value / 2 if isinstance(value, float) else draw.choice(_VALUES)

    _edit(path, draw, change)


def remove_key(path: Path, draw: random.Random) -> None:
    def change(inner: Any, key: Any) -> None:
        del inner[key]

    _edit(path, draw, change)


def truncate(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content) + 1)])


def flip_bytes(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(draw.randint(1, 4)):
        if content:
            content[draw.randrange(len(content))] = draw.randrange(256)
    path.write_bytes(content)


def zero_the_end(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    keep = draw.randrange(len(content) + 1)
    path.write_bytes(content[:keep] + bytes(len(content) - keep))


def remove(path: Path, draw: random.Random) -> None:
    path.unlink()


def make_a_folder(path: Path, draw: random.Random) -> None:
    path.unlink()
    path.mkdir()


def nest_deeply(path: Path, draw: random.Random) -> None:
    path.write_text(draw.choice(("[", '{"a":')) * 100_000)


def swap_with_another(path: Path, draw: random.Random) -> None:
    others = [each for each in sorted(path.parent.rglob("*")) if each.is_file()]
    path.write_bytes(draw.choice(others).read_bytes())


_JSON_CHANGES = (replace_value, nudge_number, remove_key, nest_deeply)
_CHANGES = (
    *_JSON_CHANGES, truncate, flip_bytes, zero_the_end, remove, make_a_folder, swap_with_another,
)  # fmt: skip
