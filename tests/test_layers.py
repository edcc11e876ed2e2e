"""Imports point one way, files stay short: read from the source, not from what happens to run."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "selena"
MAX_LINES = 400

# The rooms of the house. A room imports from the levels below its own, and from itself.
LEVELS: tuple[tuple[str, ...], ...] = (
    ("errors", "environment", "seeding"),
    ("files",),
    ("workspace", "config"),
    ("types",),
    ("data", "networks", "metrics", "pools"),
    ("training",),
    ("content",),
    ("defenses", "attacks"),
    ("auditing",),
    ("registry", "reports"),
    ("models", "experiments"),
    ("tracking",),
    ("cli", "sklearn", "__init__", "__main__"),
)
# Arrows between two rooms of one level, to a room or to one module of it.
SIDEWAYS = {
    ("attacks", "defenses.split_ai"),  # an adaptive attack imitates the defense
    ("__init__", "sklearn"),
    ("__main__", "cli"),
}
# Arrows that point down and are wrong: an audit knows protocols only.
FORBIDDEN = {("auditing", "attacks"), ("auditing", "defenses")}

LEVEL_OF = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}


def room_of(module: str) -> str:
    """`defenses.split_ai` -> `defenses`; the package itself -> `__init__`."""
    return module.partition(".")[0] or "__init__"


def module_exists(package: Path, module: str) -> bool:
    path = package.joinpath(*module.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


@cache
def imported_modules(package: Path, file: Path) -> list[tuple[int, str]]:
    """Return (line, module below the package) of every import, however deep or conditional."""
    return list(_imported_modules(package, file))


def _imported_modules(package: Path, file: Path) -> Iterator[tuple[int, str]]:
    parents = file.relative_to(package).parent.parts
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            dotted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = [node.module] if node.module else []
            if node.level:
                base = ["selena", *parents[: len(parents) - node.level + 1], *base]
            dotted = [".".join([*base, alias.name]) for alias in node.names]
        else:
            continue
        for name in dotted:
            root, _, module = name.partition(".")
            if root == package.name:
                # The last part may be a function or a class: then its module is what counts.
                while module and not module_exists(package, module):
                    module = module.rpartition(".")[0]
                yield node.lineno, module


def is_allowed(importer: str, module: str) -> bool:
    imported = room_of(module)
    if importer == imported:
        return True
    if LEVEL_OF[importer] == LEVEL_OF[imported]:
        return bool({(importer, imported), (importer, module)} & SIDEWAYS)
    return LEVEL_OF[importer] > LEVEL_OF[imported] and (importer, imported) not in FORBIDDEN


def violations(package: Path) -> list[str]:
    """Name every wrong arrow, file that is too long, and room without a level."""
    found = []
    for file in sorted(package.rglob("*.py")):
        where = file.relative_to(package)
        importer = room_of(where.with_suffix("").as_posix().replace("/", "."))
        if importer not in LEVEL_OF:
            found.append(f"{where} has no level: give {importer!r} one in LEVELS")
            continue
        lines = len(file.read_text(encoding="utf-8").splitlines())
        if lines > MAX_LINES:
            found.append(f"{where} has {lines} lines: at most {MAX_LINES}")
        for line, module in imported_modules(package, file):
            if room_of(module) not in LEVEL_OF:
                found.append(f"{where}:{line} imports {module!r}, which has no level")
            elif not is_allowed(importer, module):
                found.append(f"{where}:{line} must not import {module or 'selena itself'}")
    return found


def test_imports_point_one_way() -> None:
    assert violations(PACKAGE) == []


def circles(package: Path) -> list[list[str]]:
    """Return the files that import each other, directly or through others."""
    graph: dict[str, set[str]] = {}
    for file in sorted(package.rglob("*.py")):
        if file.name != "__init__.py":  # a package hands names on
            name = file.relative_to(package).with_suffix("").as_posix().replace("/", ".")
            graph[name] = {module for _, module in imported_modules(package, file)} - {name}

    def reached(start: str) -> set[str]:
        found, left = set[str](), [start]
        while left:
            new = graph.get(left.pop(), set()) - found
            found |= new
            left += new
        return found

    behind = {name: reached(name) for name in graph}
    each = {name: sorted(b for b in behind[name] if name in behind.get(b, ())) for name in graph}
    return [list(circle) for circle in sorted({tuple(files) for files in each.values() if files})]


def test_no_file_imports_itself_through_others() -> None:
    assert circles(PACKAGE) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    late = "def f():\n    from selena.attacks import plain"
    package = build(tmp_path, {"attacks/plain": "from selena.attacks.near import g"})
    (package / "attacks" / "near.py").write_text(late)
    assert circles(package) == [["attacks.near", "attacks.plain"]]


def test_no_room_below_the_top_imports_by_name() -> None:
    """An import by a text would hide an arrow. The package's table and the command line may."""
    allowed = {"__init__.py", "auditing/presenter.py", "cli/main.py"}
    found = {
        file.relative_to(PACKAGE).as_posix()
        for file in PACKAGE.rglob("*.py")
        if re.search(r"import_module\(f?[\"']selena", file.read_text(encoding="utf-8"))
    }
    assert found <= allowed


def test_only_readers_know_the_keys_of_results() -> None:
    """Everything else asks a typed report, run or manifest."""
    keys = "attacks|families|figures|strongest_on_evaluation|verdict|train_accuracy|test_accuracy"
    readers = r"reports/.*|auditing/(saved|schema|figure)\.py|experiments/manifest\.py"
    found = {
        file.relative_to(PACKAGE).as_posix()
        for file in PACKAGE.rglob("*.py")
        if re.search(rf"(\[|\.get\()\"({keys})\"", file.read_text(encoding="utf-8"))
    }
    assert [name for name in sorted(found) if not re.fullmatch(readers, name)] == []


def test_no_two_public_classes_share_a_name() -> None:
    names = Counter(
        node.name
        for file in PACKAGE.rglob("*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_every_room_has_one_level() -> None:
    assert len(LEVEL_OF) == sum(map(len, LEVELS))


def test_architecture_page_shows_these_rooms() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    _, picture, table, _ = re.split(r"^## (?:Picture|Table|Five).*\n", page, flags=re.M)
    lines = re.findall(r"^[a-z].*", picture.split("```")[1], re.M)
    # A comment stands three spaces or more behind the rooms of a line.
    shown = [set(re.split(r" {3,}", line)[0].split()) for line in lines]
    rooms = [{room for room in level if not room.startswith("__")} for level in reversed(LEVELS)]
    assert shown == rooms
    cells = re.findall(r"^\| (`.*?) \|", table, re.M)
    assert sorted(re.findall(r"`(\w+)`", " ".join(cells))) == sorted(set().union(*rooms))


def build(root: Path, files: dict[str, str]) -> Path:
    """Build a small package; all its files but the given ones are empty."""
    package = root / "selena"
    rest = ["environment/version", "types", "attacks/signals", "networks/mlp", "attacks/plain"]
    rest += ["defenses/split_ai", "defenses/selena"]
    for name, source in (dict.fromkeys(rest, "") | files).items():
        file = package / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    return package


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("types", "from selena.defenses import split_ai"),
        ("types", "import selena.attacks.plain as plain"),
        ("types", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import selena.attacks"),
        ("types", "def f():\n    from .attacks.plain import g"),
        ("types", "from selena import __version__"),
        ("attacks/adaptive", "from selena.defenses.selena import Selena"),
        ("attacks/adaptive", "from selena.defenses import Selena"),
        ("attacks/adaptive", "from ..defenses import selena"),
        ("defenses/memguard", "from selena.attacks.plain import g"),
        ("auditing/run", "from selena.attacks.plain import g"),
        ("auditing/run", "from selena.defenses.split_ai import SplitAI"),
        ("metrics", "import selena.attacks.signals"),
        ("data/split", "from selena import networks"),
    ],
)
def test_wrong_arrow_is_found(tmp_path: Path, file: str, source: str) -> None:
    (found,) = violations(build(tmp_path, {file: source}))
    assert found.startswith(f"{file}.py:")


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("attacks/adaptive", "from selena.defenses.split_ai import SplitAI"),
        ("attacks/adaptive", "from selena.attacks.plain import g\nfrom . import plain"),
        ("auditing/run", "import numpy\nfrom selena.types import Records"),
        ("cli", "from selena import types\nfrom selena.environment.version import __version__"),
        ("__init__", "from selena.types import Records"),
    ],
)
def test_right_arrow_is_not(tmp_path: Path, file: str, source: str) -> None:
    assert violations(build(tmp_path, {file: source})) == []


def test_long_file_and_unknown_room_are_found(tmp_path: Path) -> None:
    package = build(tmp_path, {"types": "\n" * (MAX_LINES + 1), "cellar/wine": ""})
    assert violations(package) == [
        "cellar/wine.py has no level: give 'cellar' one in LEVELS",
        f"types.py has {MAX_LINES + 1} lines: at most {MAX_LINES}",
    ]
