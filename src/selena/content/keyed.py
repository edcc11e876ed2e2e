"""Recognizes records by their content, and draws by content with a secret key.

Split-AI must recognize an exact training record in a query (paper, Section 4.1). It must answer any
other input by L sub-models that stay the same when the query is repeated.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64, Shaped, UInt8
from scipy.special import ndtri
from torch import Tensor

from selena.training.batches import as_input, in_chunks


class Lookup:
    """An index of fixed-length bytes; it needs 8 bytes per entry more, for their order."""

    def __init__(self, names: Shaped[np.ndarray, " n"]) -> None:
        """Index `names`, an array of NumPy's bytes."""
        self.names = names
        self._order = np.argsort(names, kind="stable")

    def find(
        self, asked: Shaped[np.ndarray, " m"]
    ) -> tuple[Int64[np.ndarray, " m"], Bool[np.ndarray, " m"]]:
        """Return the (last) row with each name, and a mask of the names that no row has."""
        # The last entry that is not greater than a name is the name itself, if it is known.
        places = np.searchsorted(self.names, asked, side="right", sorter=self._order) - 1
        rows = self._order[places]
        return rows, self.names[rows] != asked


def l_of_k(order: Shaped[np.ndarray, "n k"], l: int) -> Bool[np.ndarray, "n k"]:  # noqa: E741
    """Return a mask of the first `l` of each row's order of K; a random order gives random sets."""
    chosen = np.zeros(order.shape, dtype=bool)
    np.put_along_axis(chosen, order[:, :l], True, axis=1)
    return chosen


_CHUNK = 8192
_DIGEST_BYTES = 16


def content_digests(x: Shaped[Tensor, "n *features"], key: int) -> UInt8[Tensor, "n 16"]:
    """Return a keyed 128-bit BLAKE2b digest of each record as a network would see it.

    Bits as uint8 and as 0.0 and 1.0 are the same content, and so are -0.0 and 0.0.
    """
    secret = key.to_bytes(8, "big")
    digests = np.empty((len(x), _DIGEST_BYTES), dtype=np.uint8)
    for part in in_chunks(len(x), _CHUNK):
        rows = as_input(x[part]).flatten(1).contiguous().numpy() + np.float32(0)
        found = b"".join(
            blake2b(row.data, digest_size=_DIGEST_BYTES, key=secret).digest() for row in rows
        )
        digests[part] = np.frombuffer(found, dtype=np.uint8).reshape(-1, _DIGEST_BYTES)
    return torch.from_numpy(digests)


def uniform_by_content(x: Shaped[Tensor, "n *features"], key: int) -> Float[Tensor, " n"]:
    """Return a number in [0, 1) for each record, drawn by its content: the same at each call."""
    digits = content_digests(x, key)[:, :6].double()
    # Bytes are added one at a time, so each sum is exact: the number is 48 bits of the digest.
    return sum((digits[:, i] * 256.0 ** -(i + 1) for i in range(6)), torch.zeros(len(x)).double())


def normals_by_content(
    x: Shaped[Tensor, "n *features"], key: int, count: int
) -> Float[Tensor, "n count"]:
    """Return standard normal numbers for each record, float64, drawn by its content.

    The digest's first 64 bits are the state of a SplitMix64 generator (Steele, Lea & Flood, 2014).
    """
    start = np.ascontiguousarray(content_digests(x, key)[:, :8].numpy()).view(">u8").astype("u8")
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = start + steps  # modulo 2^64
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    uniform = ((z >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53
    return torch.from_numpy(ndtri(uniform))


def group_by_content(x: Shaped[Tensor, "n *features"]) -> Int[Tensor, " n"]:
    """Return the number, from 0, of each record's distinct content."""
    _, subject = np.unique(_as_bytes(content_digests(x, key=0)), return_inverse=True)
    return torch.from_numpy(subject.astype(np.int64, copy=False))


def _as_bytes(digests: UInt8[Tensor, "n 16"]) -> Shaped[np.ndarray, " n"]:
    """Return each digest as one value that NumPy sorts and compares, without a copy."""
    return np.ascontiguousarray(digests.numpy()).view(f"S{_DIGEST_BYTES}")[:, 0]


class ContentIndex:
    """Finds the training row with a query's content, or draws a row by a keyed hash.

    It holds 24 bytes per training record: the digest, and its place in sorted order.
    """

    def __init__(self, digests: UInt8[Tensor, "n 16"], key: int) -> None:
        """Index the `content_digests` of the training records; queries need the same `key`."""
        self.digests = digests
        self.key = key
        self._lookup = Lookup(_as_bytes(digests))

    def answering_rows(self, x: Shaped[Tensor, "m *features"]) -> Int[Tensor, " m"]:
        """Return the training row whose non-model set answers each query.

        For a training record it is its own row. For any other input it is a row drawn uniformly
        by the keyed digest, so that repeated queries never reveal a second L-set.
        """
        digests = content_digests(x, self.key)
        rows, unknown = self._lookup.find(_as_bytes(digests))
        rows[unknown] = digests.numpy().view(">u8")[unknown, 0] % len(self.digests)
        return torch.from_numpy(rows)
