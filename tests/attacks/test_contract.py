"""Each attack on a table of predictions, on a frame with text columns and on a network.

It runs where its `needs` says that it can, and else a message says why not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

import selena
from selena.attacks.flip_noise import FlipNoise
from selena.attacks.signal import SignalAttack
from selena.auditing.run import run_audit
from selena.errors import ConfigError
from selena.registry import ATTACKS, AttackEntry, prediction_attacks
from selena.training.plans import Plan
from selena.types import Access, Attack, FeatureKind, Needs, Oracle
from tests.attacks.planted import CLASSES, Constant, Kind, audit_split
from tests.attacks.planted import records as planted_records
from tests.attacks.test_all_attacks import CASES
from tests.test_registry import dataset

N = 24
KINDS: dict[FeatureKind, Kind] = {"binary": "bits", "continuous": "numbers", "image": "images"}


@dataclass(frozen=True)
class Margin(SignalAttack):
    """The difference of the two largest logits: an attack as CONTRIBUTING describes it."""

    name: ClassVar[str] = "margin"
    access: ClassVar[Access] = "logits"

    def measure(
        self, oracle: Oracle, x: Shaped[Tensor, "n *features"], y: Int[Tensor, " n"]
    ) -> Shaped[Tensor, " n"]:
        first, second = oracle.logits(x).topk(2, dim=1).values.T
        return first - second


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the example its line in the registry."""
    monkeypatch.setitem(ATTACKS, "margin", AttackEntry(Margin))


every_name = pytest.mark.parametrize("name", [*ATTACKS, "margin"])


def quick(name: str) -> Attack:
    """Return the registered attack with settings that take no time."""
    if name == "margin":
        return Margin()
    made = ATTACKS[name].build(Plan(hidden=(4,)), dataset(ATTACKS[name].features[0]))
    alike = (c.attack for c in CASES if type(c.attack) is type(made) and c.attack.name == made.name)
    return next(alike)


def table() -> selena.Predictions:
    rows = np.arange(N)
    p = np.random.default_rng(0).dirichlet(np.ones(CLASSES), N)
    return selena.Predictions(p, rows % CLASSES, rows < N // 2, rows % 3 == 0)


def texts(start: int) -> tuple[pd.DataFrame, np.ndarray]:
    rows = np.arange(start, start + N)
    frame = pd.DataFrame({"age": rows * 1.5, "town": [f"town {row}" for row in rows]})
    return frame, rows % CLASSES


def model_of_texts(frame: pd.DataFrame) -> np.ndarray:
    logits = np.sin(np.outer(frame["age"].to_numpy(), np.arange(1, CLASSES + 1)))
    p = np.exp(logits)
    return p / p.sum(axis=1, keepdims=True)


def assert_figures(report: selena.AuditReport, name: str) -> None:
    (result,) = report.attacks.values()
    assert result.name == name
    assert 0 <= result.variants["global"].summary.auc <= 1


@every_name
def test_on_a_table_of_predictions(name: str) -> None:
    attack = quick(name)
    if attack.needs == "predictions":
        assert_figures(selena.audit(table(), attacks=[attack]), attack.name)
        assert_figures(selena.audit(table(), attacks=[name]), attack.name)
        assert name in {each.name for each in prediction_attacks()}
        return
    message = rf"{attack.name} need more than predictions.*needs = \"predictions\""
    with pytest.raises(ConfigError, match=message):
        selena.audit(table(), attacks=[attack])
    with pytest.raises(ConfigError, match=message):
        run_audit(table(), table().split(), [attack], seed=0)
    with pytest.raises(ConfigError, match=r"need more than|repeats the model's training"):
        selena.audit(table(), attacks=[name])


@every_name
@pytest.mark.filterwarnings("ignore::selena.errors.AuditWarning")
def test_on_a_frame_with_text_columns(name: str) -> None:
    attack, given = quick(name), (model_of_texts, texts(0), texts(500))
    if attack.needs == "predictions":
        assert_figures(selena.audit(*given, attacks=[attack]), attack.name)
        return
    with pytest.raises(ConfigError, match=f"{attack.name} ask about changed records, or train"):
        selena.audit(*given, attacks=[attack])


@every_name
@pytest.mark.filterwarnings("ignore::selena.errors.AuditWarning")
def test_on_a_network(name: str) -> None:
    attack = quick(name)
    case = next((c for c in CASES if c.attack is attack), None)
    kind: Kind = case.kind if case else "numbers"
    members, others = (planted_records(kind, start, 2 * N) for start in (0, 5000))
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(members.x[0].numel(), CLASSES))
    report = selena.audit(network, (members.x, members.y), (others.x, others.y), attacks=[attack])
    assert_figures(report, attack.name)


@dataclass(frozen=True)
class Flips(FlipNoise):
    """An attack of the family direct that changes records."""

    family: ClassVar[Any] = "direct"


def test_a_family_leaves_out_what_predictions_cannot_serve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ATTACKS, "flips", AttackEntry(Flips))
    report = selena.audit(table(), attacks="direct")
    assert set(report.attacks) == {each.name for each in prediction_attacks()}


@dataclass(frozen=True)
class Undeclared:
    """An attack that does not say what it needs."""

    name: ClassVar[str] = "undeclared"
    family: ClassVar[Any] = "direct"
    access: ClassVar[Access] = "logits"
    needs: ClassVar[Needs]

    def fit(self, oracle: Oracle, known: selena.MembershipSets, **_: object) -> Any:
        raise AssertionError


@pytest.mark.usefixtures("unchecked")
def test_an_attack_must_declare_its_needs() -> None:
    attack: Any = Undeclared()
    message = r"undeclared does not say what it needs.*ClassVar\[Needs\] = \"predictions\""
    for run in (
        lambda: selena.audit(table(), attacks=[attack]),
        lambda: run_audit(Constant(), audit_split("numbers"), [attack], seed=0),
    ):
        with pytest.raises(ConfigError, match=message):
            run()
    attack.__class__.needs = "nothing"
    with pytest.raises(ConfigError, match="needs of the attack undeclared"):
        run_audit(Constant(), audit_split("numbers"), [attack], seed=0)
