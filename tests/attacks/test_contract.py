"""Each attack on a table of predictions, on a frame with text columns and on a network.

It runs where its `needs` says that it can, and else a message says why not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

import selena
from selena.attacks.flip_noise import FlipNoiseAttack
from selena.attacks.neural import NeuralAttack
from selena.attacks.signal_attack import SignalAttack
from selena.auditing.run import run_audit
from selena.errors import ConfigError
from selena.registry import ATTACKS, AttackEntry, prediction_attacks
from selena.training.plans import Plan
from selena.types import Access, Attack, Needs, Oracle
from tests.attacks.planted import CLASSES, Constant, Kind, audit_split
from tests.attacks.planted import records as planted_records
from tests.attacks.test_all_attacks import CASES, briefly
from tests.test_registry import dataset

N = 24


@dataclass(frozen=True)
class Margin(SignalAttack):
    """The difference of the two largest logits: an attack as CONTRIBUTING describes it."""

    name: ClassVar[str] = "margin"
    access: ClassVar[Access] = "logits"

    def measure(
        self, oracle: Oracle, x: Shaped[Tensor, "n *features"], y: Int[Tensor, " n"]
    ) -> Shaped[Tensor, " n"]:
        top: Tensor = oracle.logits(x).topk(2, dim=1).values
        return top[:, 0] - top[:, 1]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the example its line in the registry, and let the one that learns do so quickly."""
    monkeypatch.setitem(ATTACKS, "margin", AttackEntry(Margin))
    monkeypatch.setattr(NeuralAttack, "from_plan", lambda _plan, _data: NeuralAttack(epochs=1))


every_name = pytest.mark.parametrize("name", [*ATTACKS, "margin"])


def quick(name: str) -> tuple[Attack, Kind]:
    """Return the registered attack with settings that take no time, and records that suit it."""
    if name == "margin":
        return Margin(), "numbers"
    made = ATTACKS[name].build(Plan(hidden=(4,)), dataset(ATTACKS[name].features[0]))
    attack, kind = next(
        (case.attack, case.kind)
        for case in CASES
        if type(case.attack) is type(made) and case.attack.name == made.name
    )
    return briefly(attack), kind


def table() -> selena.Predictions:
    rows = np.arange(2 * N)
    p = np.random.default_rng(0).dirichlet(np.ones(CLASSES), 2 * N)
    return selena.Predictions(p, rows % CLASSES, rows < N, rows % 2 == 0)


def texts(start: int) -> tuple[Any, np.ndarray]:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    rows = np.arange(start, start + N)
    frame = pandas.DataFrame({"age": rows * 1.5, "town": [f"town {row}" for row in rows]})
    return frame, rows % CLASSES


def model_of_texts(frame: Any) -> np.ndarray:
    logits = np.sin(np.outer(frame["age"].to_numpy(), np.arange(1, CLASSES + 1)))
    return np.asarray(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))


def assert_figures(report: selena.AuditReport, name: str) -> None:
    (result,) = report.attacks.values()
    assert result.name == name
    assert 0 <= result.variants["global"].summary.auc <= 1


@every_name
def test_on_a_table_of_predictions(name: str) -> None:
    attack, _ = quick(name)
    if attack.needs == "predictions":
        assert_figures(selena.audit(table(), attacks=[attack], fpr=1.0), attack.name)
        assert_figures(selena.audit(table(), attacks=[name], fpr=1.0), attack.name)
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
def test_on_a_frame_with_text_columns(name: str) -> None:
    (attack, _), given = quick(name), (model_of_texts, texts(0), texts(500))
    if attack.needs == "predictions":
        assert_figures(selena.audit(*given, attacks=[attack], fpr=1.0), attack.name)
        return
    with pytest.raises(ConfigError, match=f"{attack.name} ask about changed records, or train"):
        selena.audit(*given, attacks=[attack], fpr=1.0)


@every_name
def test_on_a_network(name: str) -> None:
    attack, kind = quick(name)
    members, others = (planted_records(kind, start, 2 * N) for start in (0, 5000))
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(members.x[0].numel(), CLASSES))
    given = network, (members.x, members.y), (others.x, others.y)
    report = selena.audit(*given, attacks=[attack], fpr=1.0)
    assert_figures(report, attack.name)


@dataclass(frozen=True)
class Flips(FlipNoiseAttack):
    """An attack of the family direct that changes records."""

    family: ClassVar[Any] = "direct"


def test_family_skips_attacks_that_need_features(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ATTACKS, "flips", AttackEntry(Flips))
    report = selena.audit(table(), attacks="direct", fpr=1.0)
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
def test_an_attack_must_declare_its_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    attack: Any = Undeclared()
    message = r"undeclared does not say what it needs.*ClassVar\[Needs\] = \"predictions\""
    with pytest.raises(ConfigError, match=message):
        selena.audit(table(), attacks=[attack])
    with pytest.raises(ConfigError, match=message):
        run_audit(Constant(), audit_split("numbers"), [attack], seed=0)
    monkeypatch.setattr(Undeclared, "needs", "nothing", raising=False)
    with pytest.raises(ConfigError, match="needs of the attack undeclared"):
        run_audit(Constant(), audit_split("numbers"), [attack], seed=0)
