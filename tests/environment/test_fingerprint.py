from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from selena.defenses.undefended import Undefended
from selena.environment.fingerprint import describe, fingerprint
from selena.networks import NetworkFactory
from selena.networks.mlp import MLP
from selena.workspace import Workspace
from tests.toys import CLASSES, FEATURES, RECIPE, toy_records


class Color(Enum):
    RED = 1
    BLUE = 2


def written(source: str, name: str = "made") -> object:
    """Run source code, as a file that was edited in between would, and return what it defines."""
    scope: dict[str, object] = {"__name__": "user_code"}
    exec(compile(source, "user_code.py", "exec", dont_inherit=True), scope)
    return scope[name]


CLASS = """
from dataclasses import dataclass
@dataclass(frozen=True)
class Made:
    width: int = 8
    {constant}
    def __call__(self):
        {comment}
        return self.width {operation} 2
    {extra}
made = Made({width})
"""


def made(
    *,
    constant: str = "",
    comment: str = "",
    operation: str = "*",
    extra: str = "",
    width: str = "",
) -> object:
    return written(
        CLASS.format(
            constant=constant, comment=comment, operation=operation, extra=extra, width=width
        )
    )


def test_edited_class_changes_its_fingerprint() -> None:
    names = [
        fingerprint(each)
        for each in (
            made(),
            made(operation="+"),
            made(constant="SCALE = 3"),
            made(constant="SCALE = 4"),
            made(extra="p = property(lambda self: 1)"),
            made(extra="p = property(lambda self: 2)"),
            made(extra="s = staticmethod(lambda: 1)"),
            made(extra="s = staticmethod(lambda: 2)"),
            made(width="9"),
        )
    ]
    assert len(set(names)) == len(names)
    assert fingerprint(made(comment="# twice as wide")) == names[0]


FACTORY = """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
WIDTH = {width}
class Base(nn.Module):
    def shape(self):
        return {shape}
class Net(Base):
    def forward(self, x):
        return x.{operation}()
def helper():
    return Net()
def made():
    return (lambda: helper())() if WIDTH else None
"""


def test_fingerprint_covers_what_a_factory_builds() -> None:
    original = {"width": "8", "shape": "1", "operation": "tanh"}
    names = {
        fingerprint(written(FACTORY.format(**{**original, **edit})))
        for edit in ({}, {"width": "9"}, {"shape": "2"}, {"operation": "sin"})
    }
    assert len(names) == 4
    assert fingerprint(written(FACTORY.format(**original))) in names


def multiplied(factor: float) -> Callable[[float], float]:
    def inner(x: float) -> float:
        return x * factor

    def outer(x: float) -> float:
        return outer(x - 1) if x > 1 else inner(x)

    return outer


def width(n: int, activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, n), activation(), nn.Linear(n, CLASSES))


class Holder:
    def __init__(self, n: int) -> None:
        self.n = n

    def build(self) -> nn.Module:
        return width(self.n)


def test_callables_are_told_apart_by_what_they_do() -> None:
    """Lambdas of one line, closures of one maker, partials of one function."""
    callables = [
        lambda: 1,
        lambda: 2,
        multiplied(2.0),
        multiplied(3.0),
        partial(width, 3),
        partial(width, 4),
        partial(width, 3, nn.Tanh),
        partial(width, n=3),
        width,
        nn.ReLU,
        nn.Tanh,
        len,
        Holder(2).build,
        Holder(2).build,  # of another object, into which nobody looks
    ]
    names = [fingerprint(each) for each in callables]
    assert len(set(names)) == len(names)
    again = [multiplied(2.0), multiplied(3.0), partial(width, 3), partial(width, 4)]
    assert [fingerprint(each) for each in again] == names[2:6]
    for each in callables:
        json.dumps(describe(each))


def test_undescribed_object_equals_itself_alone() -> None:
    one, other = Holder(2), Holder(2)
    assert fingerprint(one) == fingerprint(one)
    assert fingerprint(one) != fingerprint(other)


def test_unfitted_estimator_is_named_by_parameters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = np.arange(4.0)[:, None]
    assert fingerprint(LogisticRegression(C=2)) == fingerprint(LogisticRegression(C=2))
    assert fingerprint(LogisticRegression(C=2)) != fingerprint(LogisticRegression(C=3))
    with monkeypatch.context() as patch:
        patch.setattr("sklearn.__version__", "0.0")
        other = fingerprint(LogisticRegression(C=2))
    assert other != fingerprint(LogisticRegression(C=2))
    nested = [make_pipeline(StandardScaler(), LogisticRegression(C=c)) for c in (2, 2, 3)]
    one, same, other = map(fingerprint, nested)
    assert one == same != other
    fitted = [LogisticRegression().fit(x, y) for y in ([0, 0, 1, 1], [0, 1, 1, 1])]
    assert fingerprint(fitted[0]) == fingerprint(fitted[0]) != fingerprint(fitted[1])


@dataclass(frozen=True, eq=False)
class Held:
    value: object


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.arange(3), np.arange(4)),
        (np.float32(0.5), np.float32(0.25)),
        ({"a", "b"}, {"a", "c"}),
        (Color.RED, Color.BLUE),
        (torch.float32, torch.bfloat16),
        (torch.device("cpu"), torch.device("meta")),
        (Path("a"), Path("b")),
        (b"a", b"b"),
        (None, 0),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
    ],
)
def test_values_of_fields_are_told_apart(a: object, b: object) -> None:
    assert fingerprint(Held(a)) == fingerprint(Held(a)) != fingerprint(Held(b))


@pytest.mark.deep
def test_another_process_finds_the_same_name(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from functools import partial\n"
        "from selena.environment.fingerprint import fingerprint\n"
        "def maker(n):\n"
        "    return lambda x: x in {'one', 'two', 'three'} and n\n"
        "print(fingerprint(maker(3), partial(maker, 4), {'one', 'two', 'three'}))\n"
    )
    command = [sys.executable, str(script)]
    seen = {
        subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout
        for env in ({"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2"})
    }
    assert len(seen) == 1


def test_a_network_of_another_maker_is_trained_anew(tmp_path: Path) -> None:
    workspace, train = Workspace(folder=tmp_path), toy_records(40)
    factories: list[NetworkFactory] = [
        MLP(FEATURES, CLASSES, hidden=(8,)),
        MLP(FEATURES, CLASSES, hidden=(8,), activation="relu"),
        partial(width, 8),
        partial(width, 8, nn.Tanh),
        lambda: width(8, nn.Sigmoid),
    ]
    for i, factory in enumerate(factories):
        for _ in range(2):
            Undefended(factory, CLASSES, RECIPE).fit(train, train, seed=0, workspace=workspace)
            assert len(list(tmp_path.iterdir())) == i + 1
