"""Feeds changed files to every loader, in processes of their own, and counts what comes of it.

    python -m tests.fuzzing.run --inputs 120000 --jobs 2

A loader may read a changed file or refuse it by a `SelenaError`. Any other exception, a crash (the
process dies) and a hang (no answer for a minute) are faults. Input number i of a loader is always
the same: `changed_file` returns it.
"""

from __future__ import annotations

import argparse
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from random import Random
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:  # it imports all that is under test
    from tests.fuzzing.loaders import Loader

MODULE = "tests.fuzzing.loaders"
SECONDS = 60  # without an answer are a hang
STARTING = 600  # seconds that a process may take to import all that is under test
MEMORY = 6 << 30  # bytes of data that a process may hold
READ, REFUSED, FAULT, CRASH, HANG = "read", "refused", "fault", "crash", "hang"
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Result:
    """What came of all inputs.

    Attributes:
        counts: number of inputs by loader and outcome.
        seconds: that reading took, by loader.
        faults: what went wrong, with the number of the input.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def loaders(module: str = MODULE) -> dict[str, Loader]:
    """Return the loaders that a module lists as `LOADERS`."""
    found: dict[str, Loader] = import_module(module).LOADERS
    return found


@cache
def _seeds(name: str, module: str) -> Sequence[bytes]:
    return loaders(module)[name].seeds()


def changed_file(name: str, number: int, module: str = MODULE) -> bytes:
    """Return input `number`, for the loader `name`."""
    random, seeds = Random(f"{name} {number}"), _seeds(name, module)
    return loaders(module)[name].change(seeds[random.randrange(len(seeds))], random)


def work(numbers: range, module: str, names: list[str]) -> None:
    """Feed inputs in this process; say on standard output how each begins and ends."""
    from selena.errors import SelenaError

    known = loaders(module)
    says = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # onnxruntime complains of damaged files there
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder, name.replace(" ", "-"), known[name].file) for name in names}
        for name in names:
            base = Path(folder, name.replace(" ", "-"))
            base.mkdir()
            known[name].prepare(base)
        for number in numbers:
            name = names[number % len(names)]
            print(number, end=" ", file=says, flush=True)
            paths[name].write_bytes(changed_file(name, number, module))
            started = time.monotonic()
            try:
                known[name].load(paths[name])
                outcome = READ
            except SelenaError as error:
                str(error).encode()  # a message that cannot be shown helps nobody
                outcome = REFUSED
            except Exception as error:
                place = traceback.extract_tb(error.__traceback__)[-1]
                said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                outcome = f"{FAULT} {said} ({Path(place.filename).name}:{place.lineno})"
            print(f"{time.monotonic() - started:.4f}", outcome, file=says, flush=True)


def run(inputs: int, names: list[str], jobs: int = 1, module: str = MODULE) -> Result:
    """Feed `inputs` files to the loaders in turn, shared out among `jobs` processes."""
    result = Result()
    with ThreadPoolExecutor(jobs) as pool:
        shares = [range(share, inputs, jobs) for share in range(jobs)]
        for part in pool.map(lambda share: _watch(share, names, module), shares):
            result.counts += part.counts
            for name, seconds in part.seconds.items():
                result.seconds[name] = result.seconds.get(name, 0) + seconds
            result.faults += part.faults
    return result


def _watch(numbers: range, names: list[str], module: str) -> Result:
    """Feed inputs in processes, a new one after each crash or hang."""
    result = Result()
    while numbers:
        with _start(numbers, names, module) as process:
            number, outcome, rest = numbers[0], CRASH, b""
            output, patience = _output(process), STARTING
            while True:
                if not select.select([output], [], [], patience)[0]:
                    process.kill()
                    outcome = HANG
                    break
                said = os.read(output.fileno(), 1 << 16)
                if not said:
                    break
                patience = SECONDS
                *lines, rest = (rest + said).split(b"\n")
                for line in lines:
                    number = _note(line.decode(), names, result) + numbers.step
        if process.returncode == 0:
            break
        if number == numbers[0] and not rest:
            raise RuntimeError("no input was fed: start the command that `_start` runs by hand")
        if number not in numbers:
            raise RuntimeError(f"the process ended by {process.returncode} after its last input")
        _note(f"{number} 0 {outcome} ({process.returncode})", names, result)
        numbers = numbers[numbers.index(number) + 1 :]
    return result


def _note(line: str, names: list[str], result: Result) -> int:
    """Count one outcome; return the number of its input."""
    number, seconds, outcome = line.split(" ", 2)
    name = names[int(number) % len(names)]
    kind = outcome.split()[0]
    result.counts[name, kind] += 1
    result.seconds[name] = result.seconds.get(name, 0) + float(seconds)
    if kind not in (READ, REFUSED):
        result.faults.append(f"{name}, input {number}: {outcome.strip()}")
    return int(number)


def _start(numbers: range, names: list[str], module: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.fuzzing.run", "--work", *map(str, _parts(numbers))]
    return subprocess.Popen(
        [*command, module, *names],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # libraries in C complain of damaged files there
    )


def _parts(numbers: range) -> tuple[int, int, int]:
    return numbers.start, numbers.stop, numbers.step


def _output(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None
    return process.stdout


def main() -> int:
    """Run from the command line; the exit code is 1 where there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=120_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("names", nargs="*", default=list(loaders()), help="loaders")
    arguments = parser.parse_args()
    started = time.monotonic()
    result = run(arguments.inputs, arguments.names, arguments.jobs)
    kinds = (READ, REFUSED, FAULT, CRASH, HANG)
    print(f"{'loader':22}" + "".join(f"{title:>9}" for title in (*kinds, "seconds")))
    for name in arguments.names:
        counts = "".join(f"{result.counts[name, kind]:9,}" for kind in kinds)
        print(f"{name:22}{counts}{result.seconds.get(name, 0):9,.0f}")
    print(f"{sum(result.counts.values()):,} inputs in {time.monotonic() - started:,.0f} seconds")
    print("\n".join(result.faults))
    return int(bool(result.faults))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(range(*map(int, sys.argv[2:5])), sys.argv[5], sys.argv[6:])
    else:
        sys.exit(main())
