"""Signals of one prediction, and attacks by them."""

from __future__ import annotations

import math
import tracemalloc

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from selena.attacks.signal_attack import ThresholdAttack
from selena.attacks.signals import (
    SIGNALS,
    SignalName,
    confidence,
    correctness,
    entropy,
    modified_entropy,
)
from selena.auditing.oracle import MeteredOracle
from selena.errors import AccessError, ConfigError, DataError
from selena.types import Attack, MembershipSets, Records

INF = math.inf
LOGITS = st.one_of(st.floats(-60, 60), st.sampled_from([-INF, -1e30, -700.0, 0.0, 700.0, 1e30]))


@st.composite
def predictions(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Logits of any size, some of them -inf but never a whole row, and labels."""
    n, c = draw(st.integers(1, 6)), draw(st.integers(2, 5))
    rows = [
        draw(st.lists(LOGITS, min_size=c, max_size=c).filter(lambda row: max(row) > -INF))
        for _ in range(n)
    ]
    labels = draw(st.lists(st.integers(0, c - 1), min_size=n, max_size=n))
    return torch.tensor(rows, dtype=torch.float64), torch.tensor(labels)


def test_formulas_of_the_papers() -> None:
    logits = torch.randn(200, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(200) % 7
    p = logits.softmax(dim=1)
    p_y = p[torch.arange(200), labels]
    others = torch.arange(7)[None] != labels[:, None]
    expected = {
        "correctness": (p.argmax(dim=1) == labels).double(),
        "confidence": (p_y / (1 - p_y)).log(),
        "entropy": (p * p.log()).sum(dim=1),
        "modified_entropy": (1 - p_y) * p_y.log() + (p * (1 - p).log() * others).sum(dim=1),
    }
    assert set(expected) == set(SIGNALS)
    for name, signal in SIGNALS.items():
        torch.testing.assert_close(signal(logits, labels), expected[name], rtol=1e-12, atol=1e-12)


def close(actual: Tensor, expected: Tensor) -> None:
    """Relatively, however near to 0."""
    torch.testing.assert_close(actual, expected, rtol=1e-13, atol=0.0)


def test_certain_predictions_stay_apart() -> None:
    # p = (1, e^-z, e^-z) / (1 + 2 e^-z): from z = 40 on, 1 - p_y is 0 in float64.
    z = torch.tensor([40.0, 50.0, 60.0], dtype=torch.float64)
    logits = torch.stack([z, torch.zeros(3), torch.zeros(3)], dim=1)
    right, wrong = torch.zeros(3, dtype=torch.long), torch.ones(3, dtype=torch.long)
    e = torch.exp(-z)
    assert bool((logits.softmax(dim=1)[:, 0] == 1).all())
    close(confidence(logits, right), z - math.log(2))
    close(confidence(logits, wrong), -torch.log(torch.exp(z) + 1))
    close(entropy(logits, right), -2 * e * (1 + z))
    close(modified_entropy(logits, right), -6 * e * e)
    close(modified_entropy(logits, wrong), -z + math.log(2) - z)


@given(predictions())
def test_scores_are_numbers_in_range(case: tuple[Tensor, Tensor]) -> None:
    logits, labels = case
    for name, signal in SIGNALS.items():
        scores = signal(logits, labels)
        assert scores.dtype == torch.float64
        assert not bool(scores.isnan().any())
        if name != "confidence":
            assert bool((scores <= 1 if name == "correctness" else scores <= 0).all())
    assert bool((entropy(logits, labels) >= -math.log(logits.shape[1]) - 1e-12).all())


@given(predictions())
def test_confidence_ranks_as_the_probability(case: tuple[Tensor, Tensor]) -> None:
    logits, labels = case
    p = logits.softmax(dim=1).gather(1, labels[:, None]).squeeze(1)
    by_p = p[:, None] > p[None] * (1 + 1e-9)
    scores = confidence(logits, labels)
    assert bool((scores[:, None] > scores[None])[by_p].all())


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("classes", [2, 5, 7, 30])
def test_equal_predictions_score_equal_to_the_bit(name: SignalName, classes: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    row = torch.randn(classes, generator=generator).mul(8).round() / 2
    n = 5003
    order = torch.stack([torch.randperm(classes, generator=generator) for _ in range(n)])
    label = int(row.argmin()) if name == "modified_entropy" else int(row.argmax())
    logits = row[order] + torch.arange(n)[:, None] % 3  # the same prediction, shifted
    scores = SIGNALS[name](logits, (order == label).int().argmax(dim=1))
    assert len(scores.unique()) == 1
    assert SIGNALS[name](row[None], torch.tensor([label])) == scores[0]


def test_order_of_certainty() -> None:
    logits = torch.tensor([[0.0, -INF, -INF], [9.0, 0.0, 0.0], [0.0, 0.0, 0.0], [-INF, 0.0, -INF]])
    labels = torch.zeros(4, dtype=torch.long)
    assert confidence(logits, labels).tolist() == [
        INF,
        pytest.approx(9 - math.log(2)),
        pytest.approx(-math.log(2)),
        -INF,
    ]
    sure, fairly, unsure, wrong = modified_entropy(logits, labels).tolist()
    assert sure == 0 > fairly > unsure > wrong == -INF
    sure, fairly, unsure, wrong = entropy(logits, labels).tolist()
    assert sure == wrong == 0 > fairly > unsure == pytest.approx(-math.log(3))


def test_first_of_tied_classes_is_predicted() -> None:
    logits = torch.zeros(1000, 9)
    logits[:, 0] = -1
    assert bool((correctness(logits, torch.ones(1000, dtype=torch.long)) == 1).all())
    assert bool((correctness(logits, torch.full((1000,), 8)) == 0).all())


@pytest.mark.parametrize("name", SIGNALS)
def test_bad_input_is_refused(name: SignalName) -> None:
    signal, labels = SIGNALS[name], torch.tensor([0, 1])
    for bad in ([math.nan, 0.0], [INF, 0.0], [-INF, -INF]):
        with pytest.raises(DataError, match=r"1 predictions are not finite, .* record 1"):
            signal(torch.tensor([[0.0, 0.0], bad]), labels)
    with pytest.raises(DataError, match="Label 2 of record 1"):
        signal(torch.zeros(2, 2), torch.tensor([0, 2]))
    with pytest.raises(DataError, match="at least 2"):
        signal(torch.zeros(2, 1), torch.tensor([0, 0]))


@pytest.mark.parametrize("name", SIGNALS)
def test_no_records_give_no_scores(name: SignalName) -> None:
    assert SIGNALS[name](torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)).shape == (0,)


def many() -> tuple[Tensor, Tensor]:
    logits = torch.randn(997, 7, generator=torch.Generator().manual_seed(1))
    return logits, torch.arange(997) % 7


@pytest.mark.parametrize("name", SIGNALS)
def test_chunks_change_no_bit(name: SignalName, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = SIGNALS[name](*many())
    monkeypatch.setattr("selena.attacks.signals._CHUNK", 7 * 32)
    assert torch.equal(SIGNALS[name](*many()), whole)


def test_errors_name_rows_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selena.attacks.signals._CHUNK", 7 * 32)
    logits, labels = many()
    labels[800] = 7
    with pytest.raises(DataError, match="Label 7 of record 800"):
        confidence(logits, labels)
    logits[[500, 900], 3] = math.nan
    with pytest.raises(DataError, match=r"2 predictions are not finite, the first .* record 500"):
        confidence(logits, labels)


@pytest.mark.parametrize("name", SIGNALS)
def test_signals_copy_a_chunk_per_thread(name: SignalName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selena.attacks.signals._CHUNK", 1 << 12, raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    logits, labels = torch.zeros(5_000, 50), torch.zeros(5_000, dtype=torch.int64)
    SIGNALS[name](logits[:2], labels[:2])  # what is imported or cached at the first call
    tracemalloc.start()
    SIGNALS[name](logits, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < logits.nbytes / 2  # scores, marks of broken rows and some chunks


TABLE = torch.tensor([[3.0, 0.0], [0.0, 1.0], [2.0, 2.0], [-1.0, 4.0]])


class Rows:
    """Rows of TABLE by number."""

    num_classes = 2

    def logits(self, x: Tensor) -> Tensor:
        return TABLE[x[:, 0]]


LABELS, ALL = MeteredOracle(Rows(), "label"), MeteredOracle(Rows(), "logits")


def records(*rows: int) -> Records:
    numbers = torch.tensor(rows)
    return Records(numbers[:, None], torch.tensor([0, 0, 0, 1])[numbers], numbers)


KNOWN = MembershipSets(records(0, 3), records(1))


@pytest.mark.parametrize("name", SIGNALS)
def test_score_is_the_signal(name: SignalName) -> None:
    attack: Attack = ThresholdAttack(name)
    assert (attack.name, attack.family) == (name, "direct")
    assert attack.access == ("label" if name == "correctness" else "logits")
    scorer = attack.fit(ALL, KNOWN, seed=0)
    assert scorer.calibration is KNOWN
    candidates = records(3, 2, 1, 0)
    expected = SIGNALS[name](TABLE.flip(0), candidates.y)
    assert torch.equal(scorer.score(candidates), expected)


def test_correctness_asks_for_labels_only() -> None:
    scorer = ThresholdAttack("correctness").fit(LABELS, KNOWN, seed=0)
    assert scorer.score(records(0, 1, 2, 3)).tolist() == [1, 0, 1, 1]
    with pytest.raises(AccessError):
        ThresholdAttack("entropy").fit(LABELS, KNOWN, seed=0).score(records(0))


@pytest.mark.usefixtures("unchecked")
def test_unknown_signal_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'confidence'"):
        ThresholdAttack("confidense")  # type: ignore[arg-type]
