"""How work is cut into batches and chunks; in chunks it gives what one piece gives."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from selena.content.keyed import ContentIndex, content_digests
from selena.defenses import split_ai
from selena.training.batches import batch_sizes, in_chunks, in_even_chunks
from selena.training.inference import predict, predict_rows
from tests.toys import NETWORK, toy_records


@given(st.integers(0, 200), st.integers(1, 60))
def test_even_chunks_are_few_and_nearly_equal(n: int, most: int) -> None:
    parts = list(in_even_chunks(n, most))
    assert [i for part in parts for i in range(n)[part]] == list(range(n))
    assert len(parts) == len(list(in_chunks(n, most)))
    sizes = [part.stop - part.start for part in parts]
    assert all(max(sizes) - 1 <= size <= most for size in sizes)


@given(st.integers(1, 200), st.integers(2, 60))
def test_no_batch_is_of_one_record_unless_all_are(n: int, batch_size: int) -> None:
    sizes = batch_sizes(n, batch_size)
    assert sum(sizes) == n
    assert all(size == batch_size for size in sizes[:-1])
    assert n == 1 or 1 < sizes[-1] <= batch_size + 1


def test_sets_drawn_in_chunks_are_those_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    records = toy_records(100)
    whole = split_ai.draw_non_model_sets(records, 7, 3, seed=1)
    monkeypatch.setattr(split_ai, "_CHUNK", 9)
    assert torch.equal(split_ai.draw_non_model_sets(records, 7, 3, seed=1).excluded, whole.excluded)


def test_rows_are_predicted_in_the_batches_of_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selena.training.inference._CPU_NUMBERS", 12 * 8)
    x, network, rows = toy_records(50).x, NETWORK(), torch.arange(49, 0, -2)
    parts = list(predict_rows(network, x, rows))
    assert [len(part) for part, _ in parts] == [8, 8, 8, 1]
    assert torch.equal(torch.cat([part for part, _ in parts]), rows)
    assert torch.equal(torch.cat([out for _, out in parts]), predict(network, x[rows]))


def test_the_index_answers_as_a_dictionary_would() -> None:
    x = torch.cat([toy_records(40, bits=True).x] * 2)
    queries = torch.cat([x[::3], toy_records(200, seed=5, bits=True).x])
    digests = content_digests(x, 4)
    known = {digest.tobytes(): row for row, digest in enumerate(digests.numpy())}
    expected = [
        known.get(d.tobytes(), int.from_bytes(d[:8].tobytes(), "big") % len(x))
        for d in content_digests(queries, 4).numpy()
    ]
    assert ContentIndex(digests, 4).answering_rows(queries).tolist() == expected
    assert ContentIndex(digests, 4).answering_rows(queries[:0]).tolist() == []
