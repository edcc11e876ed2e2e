"""Columns of text as inputs of a network, by hashing, so that nothing is fitted on records.

Each cell sets two of the 128 inputs of its column, one in each half, by a hash of the column's name
and the text. Two texts are confused only if both inputs agree. With ten texts, that happens to some
pair in 1 % of the columns (Svenstrup et al., "Hash Embeddings for Efficient Word Representations",
NeurIPS 2017, Section 3, use several hashes per word for the same reason). An empty cell counts as
a text.

A one-hot encoding would have to be fitted. Fitted on members it reveals which texts they have;
fitted on all records it lets evaluation records shape the model. Scaling needs no step here: each
network normalises its inputs by the records that it is trained on.
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
        name: name of the column.
        path: path of the file, for messages.

    Raises:
        DataError: there are more different texts than half of the rows; a network would memorize
            them.
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
