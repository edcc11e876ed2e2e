"""Synthetic binary records with a long tail of rare sub-populations, which makes them hard.

As in Feldman ("Does learning require memorization?", STOC 2020), a class has many sub-populations.
Most are so rare that a training set holds one of their records or none, so fitting the tail means
memorizing single records.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64, UInt8

from selena.errors import ConfigError
from selena.seeding import numpy_generator

CHUNK = 4096
"""Records drawn from one child seed; part of a set's definition."""

# Rows redrawn at once, to keep the random numbers of wide records in the processor's cache. The
# draws are one stream, so this number does not change the data set.
_ROWS = 64


@dataclass(frozen=True)
class LongTail:
    """A long-tailed mixture of binary records; the defaults are `purchase100-synthetic`'s.

    Attributes:
        classes: number of classes, >= 2.
        items: number of binary features, >= 1.
        subpopulations: sub-populations per class, >= 1.
        class_concentration: class shares are Dirichlet with this parameter, > 0.
        popularity_a: item popularity is Beta(popularity_a, popularity_b), both > 0.
        popularity_b: see `popularity_a`.
        redraw: probability in [0, 1] that a sub-population redraws an item of its class's
            prototype from the item's popularity.
        zipf: the r-th sub-population of a class has a weight proportional to r^-zipf, >= 0.
        noise_scale: a record redraws each item with its own probability
            noise_scale * Beta(2, 2), in [0, 1].
        label_noise: probability in [0, 1] that a record's label is redrawn from the class
            shares, after its features. If records of one sub-population are alike, such labels
            can neither be learned nor memorized, which keeps training accuracy below 100 %.
    """

    classes: int = 100
    items: int = 600
    subpopulations: int = 1000
    class_concentration: float = 3.0
    popularity_a: float = 0.6
    popularity_b: float = 2.4
    redraw: float = 0.78
    zipf: float = 1.2
    noise_scale: float = 0.22
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        for name, low in (("classes", 2), ("items", 1), ("subpopulations", 1)):
            if getattr(self, name) < low:
                raise ConfigError(f"{name} must be at least {low}, not {getattr(self, name)}.")
        for name in ("class_concentration", "popularity_a", "popularity_b"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be positive, not {getattr(self, name)}.")
        for name in ("redraw", "noise_scale", "label_noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie in [0, 1], not {getattr(self, name)}.")
        if not self.zipf >= 0:
            raise ConfigError(f"zipf must not be negative, not {self.zipf}.")

    def generate(
        self, n: int, *, seed: int
    ) -> tuple[UInt8[np.ndarray, "n items"], Int64[np.ndarray, " n"]]:
        """Draw `n` records.

        The first m records are the same for every n >= m. Memory beside the result: the
        sub-populations' items as packed bits (classes x subpopulations x items / 8 bytes), those
        of one class unpacked, and one chunk.

        Args:
            n: number of records, >= 1.
            seed: root of every draw, of the mixture as well as of the records.

        Returns:
            Bits as uint8, n x items, and labels in [0, classes).

        Raises:
            ConfigError: if `n` is below 1.
        """
        if n < 1:
            raise ConfigError(f"A synthetic set needs at least one record, not {n}.")
        rng = numpy_generator(seed, "purchases", "mixture")
        shares = rng.dirichlet(np.full(self.classes, self.class_concentration))
        popularity = rng.beta(self.popularity_a, self.popularity_b, self.items)
        popularity = popularity.astype(np.float32)
        kinds = self._kinds(rng, popularity)
        weights = np.arange(1, self.subpopulations + 1, dtype=np.float64) ** -self.zipf
        weights /= weights.sum()

        x = np.empty((n, self.items), dtype=np.uint8)
        y = np.empty(n, dtype=np.int64)
        for start in range(0, n, CHUNK):
            chunk = start // CHUNK
            rng = numpy_generator(seed, "purchases", "records", chunk)
            # Classes, ranks and noise are drawn for a whole chunk, so that a shorter last chunk
            # is a prefix of the full one.
            classes = rng.choice(self.classes, CHUNK, p=shares)
            ranks = rng.choice(self.subpopulations, CHUNK, p=weights)
            noise = (self.noise_scale * rng.beta(2, 2, CHUNK)).astype(np.float32)
            stop = min(start + CHUNK, n)
            m = stop - start
            packed = kinds[classes[:m], ranks[:m]]
            x[start:stop] = np.unpackbits(packed, axis=1, count=self.items)
            _redraw(rng, x[start:stop], noise[:m], popularity)
            # From a seed of their own, so that the features do not depend on them.
            rng = numpy_generator(seed, "purchases", "labels", chunk)
            wrong = rng.random(CHUNK) < self.label_noise
            labels = np.where(wrong, rng.choice(self.classes, CHUNK, p=shares), classes)
            y[start:stop] = labels[:m]
        return x, y

    def _kinds(
        self, rng: np.random.Generator, popularity: Float[np.ndarray, " items"]
    ) -> UInt8[np.ndarray, "classes kinds bytes"]:
        """Draw the items of every sub-population, class by class, as packed bits."""
        kinds = np.empty((self.classes, self.subpopulations, (self.items + 7) // 8), dtype=np.uint8)
        redraw = np.full(self.subpopulations, self.redraw, dtype=np.float32)
        own = np.empty((self.subpopulations, self.items), dtype=np.uint8)
        for packed in kinds:
            own[:] = rng.random(self.items, dtype=np.float32) < popularity  # the prototype
            _redraw(rng, own, redraw, popularity)
            packed[:] = np.packbits(own, axis=1)
        return kinds


def _redraw(
    rng: np.random.Generator,
    records: UInt8[np.ndarray, "m items"],
    probability: Float[np.ndarray, " m"],
    popularity: Float[np.ndarray, " items"],
) -> None:
    """Redraw, in place, each item from its popularity with its row's probability.

    One uniform number u per cell serves both draws. The item is redrawn if u < p, its row's
    probability. Then u / p is uniform too, so the new item is 1 if u < p * popularity.
    """
    for start in range(0, len(records), _ROWS):
        rows = records[start : start + _ROWS]
        p = probability[start : start + _ROWS, None]
        u = rng.random(rows.shape, dtype=np.float32)
        np.copyto(rows, u < p * popularity, where=u < p, casting="unsafe")
