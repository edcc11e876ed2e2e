"""The public names: all there, none of them costs anything before it is used."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import pytest

import selena
from selena import attacks, defenses
from selena.registry import DEFENSES

PUBLIC = [name for name in selena.__all__ if not name.startswith("__")]
SETTINGS = {"Copies", "NoiseSearch", "ReferenceMatrix"}  # of defenses and attacks
PACKAGES = ("attacks", "defenses", "metrics", "tracking", "types")
POSITIONAL_NUMBERS = {"MLP": 2}
"""As `torch.nn.Linear`, an `MLP` takes its inputs and outputs by position."""


def classes_with_fit(package: ModuleType) -> set[str]:
    """The public classes of a package that are fitted by themselves: attacks, or defenses."""
    found = set()
    for module in iter_modules(package.__path__, f"{package.__name__}."):
        for name, each in vars(import_module(module.name)).items():
            own = inspect.isclass(each) and each.__module__ == module.name
            if own and not name.startswith("_") and hasattr(each, "fit"):
                found.add(name)
    return found - {"Training", "SideBySide"}  # protocols


def signatures() -> Iterator[tuple[str, inspect.Signature]]:
    """Of everything public that a user calls: functions, constructors, `fit`."""
    for name in PUBLIC:
        each: Any = getattr(selena, name)
        if inspect.isclass(each) and issubclass(each, Exception):
            continue
        yield name, inspect.signature(each)
        if hasattr(each, "fit"):
            yield f"{name}.fit", inspect.signature(each.fit)


SIGNATURES = dict(signatures())
BASES = {"FilteredModel", "OwnLoop", "SignalAttack", "SingleNetwork"}
"""Classes of a user's own attacks and defenses are built on these, in the packages alone."""


def type_name(annotation: Any) -> str:
    """`int | None` -> "int", whether annotations are texts or, while tests check them, types."""
    named = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return str(named or annotation).partition(" |")[0]


@pytest.mark.parametrize("name", selena.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(selena, name) is not None


def test_the_table_of_homes_and_the_list_agree() -> None:
    assert {*selena._HOME, "__version__"} == set(selena.__all__)


def test_shells_can_complete_them() -> None:
    assert set(dir(selena)) == {*selena.__all__, *PACKAGES}


@pytest.mark.parametrize("name", PACKAGES)
def test_packages_need_no_import_of_their_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(selena, name)  # as before any import of it
    assert getattr(selena, name) is import_module(f"selena.{name}")


def test_importing_the_package_loads_no_torch() -> None:
    code = "import sys, selena; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        selena.nothing  # noqa: B018


@pytest.mark.parametrize("package", [attacks, defenses])
def test_a_package_gives_all_its_classes(package: ModuleType) -> None:
    listed = set(package.__all__)
    public = {name for name in listed - SETTINGS - BASES if name[0].isupper()}
    assert classes_with_fit(package) - BASES == public
    assert public <= set(selena.__all__)
    assert all(getattr(package, name) is not None for name in listed)


def test_every_attack_is_called_an_attack() -> None:
    classes = [name for name in set(attacks.__all__) - SETTINGS if name[0].isupper()]
    assert all(name.endswith("Attack") for name in classes)


def test_a_defense_is_called_as_in_the_registry() -> None:
    classes = {name.lower() for name in set(defenses.__all__) - SETTINGS - BASES}
    assert classes == {name.replace("_", "") for name in DEFENSES} - {"labeloutput"}


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_at_most_one_number_is_positional(name: str) -> None:
    by_position = [
        parameter.name
        for parameter in SIGNATURES[name].parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        and type_name(parameter.annotation) in ("int", "float", "bool")
    ]
    assert len(by_position) <= POSITIONAL_NUMBERS.get(name, 1), by_position


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_seeds_are_optional_and_zero(name: str) -> None:
    parameters = SIGNATURES[name].parameters
    assert "seed" not in parameters or parameters["seed"].default == 0


def test_a_device_is_no_positional_argument() -> None:
    with pytest.raises(TypeError, match="positional"):
        selena.Workspace("cpu")  # type: ignore[call-arg]
