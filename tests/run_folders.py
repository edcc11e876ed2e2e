"""Run folders of a real, tiny experiment, and mutations of them: `fuzz_run_folders`."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selena.errors import SelenaError
from selena.experiments.pipeline import Case, DataSettings, RunSettings
from selena.experiments.results import read_results, run
from selena.experiments.store import RunFolder

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


def mutate(folder: Path, draw: random.Random) -> str:
    """Change one file of a run folder; return what was done."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifests = [path for path in files if path.suffix == ".json"]
    change = draw.choice(_CHANGES)
    path = draw.choice(manifests if change in _JSON_CHANGES else files)
    change(path, draw)
    return f"{change.__name__} {path.relative_to(folder)}"


def fuzz_run_folders(source: RunFolder, work: Path, *, inputs: int, seed: int) -> Counter[str]:
    """Mutate copies of `source`; each is read as before, or is a `SelenaError` with a file.

    Args:
        source: a finished run that was attacked.
        work: an empty folder.
        inputs: how many mutated folders.
        seed: of the mutations.

    Returns:
        How many were read, and how many refused.

    Raises:
        AssertionError: a folder gave other results, or an error that names no file.
    """
    draw = random.Random(seed)
    (rows, manifest) = (read_results([source.path]).rows, source.manifest())
    found: Counter[str] = Counter()
    for number in range(inputs):
        folder = work / str(number)
        shutil.copytree(source.path, folder)
        done = " and ".join(mutate(folder, draw) for _ in range(draw.choice((1, 1, 1, 2))))
        try:
            results = read_results([folder])
            run_folder = RunFolder(folder)
            assert run_folder.is_trained or "model" in done, done
            Case.from_manifest(run_folder.manifest())
            if "model" not in done:
                run_folder.load_model()
        except SelenaError as error:
            if str(folder) not in str(error):
                raise AssertionError(f"{done}: {error}") from error
            found["refused"] += 1
        else:
            assert results.rows == rows, done
            assert run_folder.manifest() == manifest, done
            found["read"] += 1
        shutil.rmtree(folder)
    return found


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
