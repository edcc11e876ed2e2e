"""How numbers are cut into artifacts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from selena.training.batches import batch_sizes, in_chunks, in_even_chunks


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
