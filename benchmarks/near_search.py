"""What the search for near copies costs, in seconds and memory, up to a million records.

    python -m benchmarks.near_search --json FILE [--records 10000 100000 1000000]

Records are drawn around 1,000 prototypes, and one in a hundred is replaced by a near copy of
another: 4 of 600 bits differ, 30 numbers by a hundredth of their standard deviation, images of
32 x 32 pixels are shifted by two pixels. Per kind and n:

- `found`: share of the planted pairs that `near_duplicates="auto"` links;
- `other_links`: links between other records, per record;
- `memory_mib`: largest memory of the process, less that before the search (records included).
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.page import how_made
from selena.content.near_duplicates import find_near_duplicates
from selena.files.writing import write_json
from selena.seeding import numpy_generator

PROTOTYPES, BITS, COLUMNS, SIDE, SHIFT = 1_000, 600, 30, 32, 2
DIFFERENT_BITS, NOISE = 4, 0.01
RECORDS_PER_COPY = 100
MOST_IMAGES = 100_000  # a million take the time of ten such cases


def bits(n: int, draw: np.random.Generator) -> np.ndarray:
    """Return n x 600 bits, an eighth of which differ from a prototype's."""
    prototypes = draw.random((PROTOTYPES, BITS)) < 0.25
    records = np.empty((n, BITS), dtype=np.uint8)
    for start in range(0, n, 10_000):
        part = records[start : start + 10_000]
        changed = draw.random((len(part), BITS), dtype=np.float32) < 1 / 8
        part[:] = prototypes[draw.integers(PROTOTYPES, size=len(part))] ^ changed
    return records


def copied_bits(records: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Return copies that differ in four bits."""
    copies = records.copy()
    where = draw.random(records.shape).argsort(axis=1)[:, :DIFFERENT_BITS]
    np.put_along_axis(copies, where, 1 - np.take_along_axis(copies, where, 1), 1)
    return copies


def numbers(n: int, draw: np.random.Generator) -> np.ndarray:
    """Return n x 30 numbers of standard deviation 1 around prototypes as far apart."""
    prototypes = draw.standard_normal((PROTOTYPES, COLUMNS), dtype=np.float32)
    noise = draw.standard_normal((n, COLUMNS), dtype=np.float32)
    found: np.ndarray = prototypes[draw.integers(PROTOTYPES, size=n)] + noise
    return found


def copied_numbers(records: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Return copies with a little noise."""
    noise = draw.standard_normal(records.shape, dtype=np.float32)
    copies: np.ndarray = records + np.float32(NOISE) * noise
    return copies


def images(n: int, draw: np.random.Generator) -> np.ndarray:
    """Return n smooth colored images, as bytes."""
    coarse = torch.from_numpy(draw.random((n, 3, 8, 8), dtype=np.float32))
    fine = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic")
    found: np.ndarray = (255 * fine.clamp(0, 1)).to(torch.uint8).numpy()
    return found


def shifted_images(records: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Return copies shifted by two pixels to the right."""
    padded = np.pad(records, ((0, 0), (0, 0), (0, 0), (SHIFT, 0)), mode="edge")
    return padded[..., :SIDE]


KINDS = {
    "bits": (bits, copied_bits),
    "numbers": (numbers, copied_numbers),
    "images": (images, shifted_images),
}


def measure(kind: str, n: int) -> dict[str, Any]:
    """Return one case; for a process of its own."""
    draw = numpy_generator(0, "near search", kind, str(n))
    make, copy = KINDS[kind]
    records = make(n, draw)
    planted = draw.permutation(n)[: 2 * max(1, n // RECORDS_PER_COPY)].reshape(2, -1)
    records[planted[1]] = copy(records[planted[0]], draw)
    before = _memory()
    start = time.perf_counter()
    links = find_near_duplicates(records, "auto")
    seconds = time.perf_counter() - start
    wanted = {frozenset(pair) for pair in planted.T.tolist()}
    linked = {frozenset(pair) for pair in np.stack([links.first, links.second], 1).tolist()}
    return {
        "kind": kind,
        "records": n,
        "seconds": round(seconds, 1),
        "memory_mib": round(_memory() - before),
        "records_mib": round(records.nbytes / 2**20),
        "found": len(wanted & linked) / len(wanted),
        "other_links": len(linked - wanted) / n,
    }


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure every kind and size; print a line per case."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--records", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    arguments = parser.parse_args()
    rows = []
    spawn = multiprocessing.get_context("spawn")
    for kind in KINDS:
        for n in arguments.records:
            if kind == "images" and n > MOST_IMAGES:
                continue
            with ProcessPoolExecutor(1, mp_context=spawn) as own:
                rows.append(own.submit(measure, kind, n).result())
            print(rows[-1], flush=True)
    write_json(arguments.json, {**how_made("near_search"), "rows": rows})


if __name__ == "__main__":
    main()
