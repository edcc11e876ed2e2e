"""Columns of text as inputs of a network: hashed, so that nothing is fitted on any record.

Every cell sets two of 128 inputs of its column, one in each half, by a hash of the column's name
and the text. Two texts are confused only where both inputs agree: of ten texts, some two in 1 % of
the columns (Svenstrup et al., "Hash Embeddings for Efficient Word Representations", NeurIPS 2017,
Section 3, use several hashes of a word for the same reason). An empty cell is a text of its own.

A one-hot encoding would have to be fitted: on members, it tells which texts they have; on all
records, evaluation records shape the model. Scaling needs no step here: the networks of a table
normalise their inputs inside, by the records that each of them is trained on.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Shaped

from selena.errors import DataError

HALF = 64
"""Inputs per hash."""

INPUTS = 2 * HALF
"""Inputs per column of text."""


def hash_column(
    words: Shaped[np.ndarray, " n"], name: str, path: Path
) -> Float32[np.ndarray, "n inputs"]:
    """Return the inputs that a column of text sets.

    Args:
        words: n texts; "" where a cell is empty.
        name: of the column.
        path: of the file, for messages.

    Raises:
        DataError: more than half of the rows have a text of their own: a network would learn these
            by heart.
    """
    texts, inverse = np.unique(words, return_inverse=True)
    if 2 * len(texts) > len(words):
        raise DataError(
            f"{path}, column {name!r}: holds {len(texts):,} different texts in {len(words):,} "
            "rows, as names and identifiers do. Drop it, or name it with --subject-column."
        )
    inputs = np.zeros((len(texts), INPUTS), dtype=np.float32)
    for row, text in enumerate(texts.tolist()):
        digest = blake2b(f"{len(name)}:{name}{text}".encode(), digest_size=2).digest()
        inputs[row, [digest[0] % HALF, HALF + digest[1] % HALF]] = 1
    return inputs[inverse]
