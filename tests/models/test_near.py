"""An audit counts near copies on both sides and warns where they move figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

import selena
from selena.auditing.near_copies import NearCopies
from selena.errors import AuditWarning
from selena.models import near
from selena.models.near import count_near_copies, warn_of_near_copies
from selena.models.pool import GatheredRecords, gather
from selena.seeding import numpy_generator

N, COPIED = 120, 15


def numbers(seed: int, n: int = N) -> np.ndarray:
    return numpy_generator(seed, "near").normal(size=(n, 15))


def with_copies(x: np.ndarray) -> np.ndarray:
    return x[:COPIED] + 1e-3


def gathered(members: Any, others: Any) -> GatheredRecords:
    return gather(members, others, scale=False, deduplicate=False, seed=0)


def pool_of(members: Any, others: Any) -> GatheredRecords:
    def labelled(x: Any) -> tuple[Any, ...]:
        n = x.shape[0] if hasattr(x, "shape") else len(x)
        return (x, np.zeros(n, dtype=int))

    return gathered(labelled(members), labelled(others))


def test_copies_are_counted_by_side() -> None:
    members, others = numbers(1), numbers(2)
    both = pool_of(
        np.concatenate([members, with_copies(members)]),
        np.concatenate([others, with_copies(others)[:6], with_copies(members[COPIED:])[:7]]),
    )
    found = count_near_copies(both)
    assert (found.members, found.non_members) == (2 * COPIED, 12)
    assert (found.across_members, found.across_non_members) == (7, 7)
    assert found.compared == len(both)


def test_copies_of_one_subject_are_not_counted() -> None:
    x = numbers(3)
    whose = np.append(np.arange(N), np.arange(COPIED))
    members = (np.concatenate([x, with_copies(x)]), np.zeros(N + COPIED, dtype=int), whose)
    others = (numbers(4), np.zeros(N, dtype=int), np.arange(N) + 1_000)
    assert count_near_copies(gathered(members, others)).members == 0


def test_texts_and_sparse_rows_are_compared() -> None:
    draw = numpy_generator(5)
    words = ["".join(draw.choice(list("abcdefghij"), 6)) for _ in range(400)]
    texts = [" ".join(draw.choice(words, 30)) for _ in range(2 * N)]
    near_ones = [text.replace(text[:6], "other", 1) for text in texts[:COPIED]]
    found = count_near_copies(pool_of(texts[:N], texts[N:] + near_ones))
    assert (found.across_members, found.across_non_members) == (COPIED, COPIED)
    x = np.abs(numbers(6, 2 * N)) * (numpy_generator(7).random((2 * N, 15)) < 0.8)
    rows = sparse.csr_array(np.concatenate([x, x[:COPIED] * 1.001]))
    assert count_near_copies(pool_of(rows[:N], rows[N:])).across_members == COPIED


def test_images_with_channels_last_are_compared() -> None:
    x = numpy_generator(8).integers(0, 256, size=(60, 8, 8, 3), dtype=np.uint8)
    moved = np.roll(x[:5], 1, axis=2)
    found = count_near_copies(pool_of(x, np.concatenate([255 - x[:50] // 2, moved])))
    assert found.across_non_members >= 5


def test_too_many_records_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "MOST_PRODUCTS", 1000)
    found = count_near_copies(pool_of(numbers(9), numbers(10)))
    assert found.compared == 0
    assert str(found) == (
        "Near copies were not counted: comparing all 240 records would take too long."
    )


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (NearCopies(across_members=7, across_non_members=6, compared=240), "underestimated"),
        (NearCopies(members=20, compared=240), "too narrow"),
    ],
)
def test_common_near_copies_are_warned_of(found: NearCopies, message: str) -> None:
    with pytest.warns(AuditWarning, match=message):
        warn_of_near_copies(found, pool_of(numbers(11), numbers(12)))


def test_few_near_copies_are_no_warning() -> None:
    few = NearCopies(2, 2, 2, 2, 240)
    warn_of_near_copies(few, pool_of(numbers(13), numbers(14)))


def test_report_says_how_many_there_are() -> None:
    x, others = numbers(15), numbers(16)
    sides = (x, np.zeros(N, dtype=int)), (np.concatenate([others, with_copies(x)]), None)
    labels = np.zeros(N + COPIED, dtype=int)

    def model(asked: Any) -> Any:
        return np.tile([0.7, 0.3], (len(asked), 1)) + 1e-3 * np.tanh(asked[:, :1]) * [1, -1]

    with pytest.warns(AuditWarning, match="near copy among the non-members") as caught:
        report = selena.audit(
            model, sides[0], (sides[1][0], labels), attacks=("confidence",), fpr=0.2
        )
    assert all("tests" in warned.filename for warned in caught)  # whoever called the library
    assert report.near_copies is not None
    assert report.near_copies.across_members == COPIED
    assert f"{COPIED} members and {COPIED} non-members have one on the other" in str(report)
