"""How numbers are cut into pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from selena.training.batches import in_chunks, in_even_chunks


@given(st.integers(0, 200), st.integers(1, 60))
def test_even_chunks_are_as_few_as_can_be_and_nearly_equal(n: int, most: int) -> None:
    parts = list(in_even_chunks(n, most))
    assert [i for part in parts for i in range(n)[part]] == list(range(n))
    assert len(parts) == len(list(in_chunks(n, most)))
    sizes = [part.stop - part.start for part in parts]
    assert all(max(sizes) - 1 <= size <= most for size in sizes)
