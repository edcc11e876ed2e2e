"""`purchase100-synthetic`: made-up shopping baskets, the set that needs no download.

It stands in for Purchase100 (Shokri et al. 2017: 600 binary items, 100 classes) and was
calibrated on the *undefended* model alone: only `noise_scale` was fitted, and only to the
undefended row of Table 2 in Tang et al. (2022). What a defense does on it is a finding, about
synthetic records.

Its difficulty is a long tail of rare sub-populations, as in Feldman ("Does learning require
memorization?", STOC 2020): a class is a thousand kinds of customer, most of them so rare that
a training set holds one or none, so that fitting the tail means memorizing single records.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8

from selena.errors import ConfigError
from selena.seeding import numpy_generator
from selena.types import Dataset, Records

DATASET_SEED = 100
"""The seed of the published set; runs vary the split, never the records."""

CHUNK = 4096
"""Records drawn from one child seed; part of the set's definition."""

PURCHASE100_RECORDS = 197_324
PURCHASE100_MEMBERS = 19_732


@dataclass(frozen=True)
class SyntheticPurchases:
    """Baskets drawn from a long-tailed mixture.

    Attributes:
        classes: number of classes, >= 2.
        items: number of binary features, >= 1.
        subpopulations: kinds of customer in a class, >= 1.
        class_concentration: class shares are Dirichlet with this parameter, > 0.
        popularity_a: item popularity is Beta(popularity_a, popularity_b), both > 0.
        popularity_b: see `popularity_a`.
        redraw: probability in [0, 1] that a sub-population redraws an item of its class's
            prototype basket from the item's popularity.
        zipf: the r-th sub-population of a class has a weight proportional to r^-zipf, >= 0.
        noise_scale: a record redraws each item with its own probability
            noise_scale * Beta(2, 2), in [0, 1].
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

    def __post_init__(self) -> None:
        for name, low in (("classes", 2), ("items", 1), ("subpopulations", 1)):
            if getattr(self, name) < low:
                raise ConfigError(f"{name} must be at least {low}, not {getattr(self, name)}.")
        for name in ("class_concentration", "popularity_a", "popularity_b"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be positive, not {getattr(self, name)}.")
        for name in ("redraw", "noise_scale"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie in [0, 1], not {getattr(self, name)}.")
        if not self.zipf >= 0:
            raise ConfigError(f"zipf must not be negative, not {self.zipf}.")

    def generate(
        self, n: int, *, seed: int = DATASET_SEED
    ) -> tuple[UInt8[np.ndarray, "n items"], Int64[np.ndarray, " n"]]:
        """Draw `n` records.

        The first m of them are the same for every n >= m. Memory beyond the result: the
        sub-populations' baskets (classes x subpopulations x items bytes) and one chunk.

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
        baskets = self._baskets(rng, popularity)
        weights = np.arange(1, self.subpopulations + 1, dtype=np.float64) ** -self.zipf
        weights /= weights.sum()

        x = np.empty((n, self.items), dtype=np.uint8)
        y = np.empty(n, dtype=np.int64)
        for start in range(0, n, CHUNK):
            rng = numpy_generator(seed, "purchases", "records", start // CHUNK)
            # What is drawn before the bits is drawn for a whole chunk, so that a shorter last
            # chunk is a prefix of the full one.
            labels = rng.choice(self.classes, CHUNK, p=shares)
            kinds = rng.choice(self.subpopulations, CHUNK, p=weights)
            noise = (self.noise_scale * rng.beta(2, 2, CHUNK)).astype(np.float32)
            stop = min(start + CHUNK, n)
            m = stop - start
            y[start:stop] = labels[:m]
            x[start:stop] = _redrawn(rng, baskets[labels[:m], kinds[:m]], noise[:m], popularity)
        return x, y

    def _baskets(
        self, rng: np.random.Generator, popularity: Float[np.ndarray, " items"]
    ) -> UInt8[np.ndarray, "classes kinds items"]:
        """Draw the basket of every sub-population, class by class."""
        baskets = np.empty((self.classes, self.subpopulations, self.items), dtype=np.uint8)
        redraw = np.full(self.subpopulations, self.redraw, dtype=np.float32)
        for own in baskets:
            prototype = rng.random(self.items, dtype=np.float32) < popularity
            own[:] = prototype
            own[:] = _redrawn(rng, own, redraw, popularity)
        return baskets


def _redrawn(
    rng: np.random.Generator,
    baskets: UInt8[np.ndarray, "m items"],
    probability: Float[np.ndarray, " m"],
    popularity: Float[np.ndarray, " items"],
) -> UInt8[np.ndarray, "m items"]:
    """Redraw each item from its popularity with its row's probability.

    One uniform u a cell does both draws: below the probability p the item is redrawn, and
    there u / p is uniform again, so u < p * popularity says whether the new item is bought.
    """
    u = rng.random(baskets.shape, dtype=np.float32)
    bought = u < probability[:, None] * popularity
    return np.where(u < probability[:, None], bought, baskets).astype(np.uint8)


def load(size: int | None = None) -> Dataset:
    """Return the first `size` records of the published set (all 197,324 when None).

    A smaller set keeps the default of 19,732 members while they are no more than half of it.

    Raises:
        ConfigError: if `size` is below 1.
    """
    mixture = SyntheticPurchases()
    n = PURCHASE100_RECORDS if size is None else size
    x, y = mixture.generate(n)
    return Dataset(
        name="purchase100-synthetic",
        records=Records(torch.from_numpy(x), torch.from_numpy(y), torch.arange(n)),
        num_classes=mixture.classes,
        features="binary",
        recipe="purchase100",
        members=min(PURCHASE100_MEMBERS, n // 2),
        source=f"synthetic stand-in for Purchase100: {n:,} made-up baskets, seed {DATASET_SEED}",
        synthetic=True,
    )
