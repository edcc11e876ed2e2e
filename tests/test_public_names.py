"""The public names: all there, none of them costs anything before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import selena


@pytest.mark.parametrize("name", selena.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(selena, name) is not None


def test_the_table_of_homes_and_the_list_agree() -> None:
    assert {*selena._HOME, "__version__"} == set(selena.__all__)


def test_shells_can_complete_them() -> None:
    assert set(dir(selena)) == set(selena.__all__)


def test_importing_the_package_loads_no_torch() -> None:
    code = "import sys, selena; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        selena.nothing  # noqa: B018
