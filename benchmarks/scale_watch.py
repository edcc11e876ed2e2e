"""Memory of a process and its children, phase by phase, watched from outside.

Anonymous pages and shared memory are what a machine must hold; pages of mapped files are not
counted, for the kernel drops them when it needs the room.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.scale_point import Point

SAMPLE_SECONDS = 0.004
_FIELDS = {"RssAnon": "anonymous", "RssShmem": "shared", "RssFile": "mapped"}
Kinds = dict[str, int]


def measure(point: Point, folder: Path) -> dict[str, dict[str, float]]:
    """Run `point` in a process of its own and return its phases.

    Returns:
        Phase -> "wall_s", "cpu_s" (user and system, of that process alone), and the peaks of
        "anonymous", "shared" and "mapped" bytes of it and its children; "before" is what was
        anonymous when the phase began.

    Raises:
        RuntimeError: the process failed.
    """
    openmp = {"OMP_NUM_THREADS": str(point.threads)}
    if point.passive:
        openmp["OMP_WAIT_POLICY"] = "passive"
    command = [sys.executable, "-m", "benchmarks.scale_point", str(folder)]
    with subprocess.Popen(
        [*command, json.dumps(point.as_json())],
        stdout=subprocess.PIPE,
        env=os.environ | openmp,
        cwd=Path(__file__).parents[1],
        bufsize=0,
    ) as child:
        phases = _watch(child)
    if child.returncode != 0:
        raise RuntimeError(f"{point} failed; its error stands above.")
    return phases


def _watch(child: subprocess.Popen[bytes]) -> dict[str, dict[str, float]]:
    phases: dict[str, dict[str, float]] = {}
    assert child.stdout is not None
    current, rest = "", b""
    while True:
        ready, _, _ = select.select([child.stdout], [], [], SAMPLE_SECONDS)
        if ready:
            received = os.read(child.stdout.fileno(), 65_536)
            if not received:
                return phases
            *lines, rest = (rest + received).split(b"\n")
            for line in map(json.loads, lines):
                current = _note(line, phases, child.pid)
        elif current:
            _raise_peaks(phases[current], resident(child.pid))


def _note(line: dict[str, Any], phases: dict[str, dict[str, float]], pid: int) -> str:
    """Take a line of the process; return the phase that runs after it, or ""."""
    if "begin" in line:
        now = resident(pid)
        phases[line["begin"]] = {**now, "before": now["anonymous"]}
        return str(line["begin"])
    phases[line["end"]] |= {"wall_s": line["wall_s"], "cpu_s": line["cpu_s"]}
    return ""


def _raise_peaks(phase: dict[str, float], now: Kinds) -> None:
    for kind, size in now.items():
        phase[kind] = max(phase[kind], size)


def resident(pid: int) -> Kinds:
    """Return the resident bytes of a process and all below it, by kind."""
    total = dict.fromkeys(_FIELDS.values(), 0)
    for one in _family(pid):
        try:
            status = Path(f"/proc/{one}/status").read_text(encoding="ascii")
        except OSError:
            continue  # it ended meanwhile
        for line in status.splitlines():
            name, _, value = line.partition(":")
            if name in _FIELDS:
                total[_FIELDS[name]] += 1024 * int(value.split()[0])
    return total


def _family(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = " ".join((task / "children").read_text(encoding="ascii") for task in tasks)
    except OSError:
        return [pid]
    return [pid, *(member for child in children.split() for member in _family(int(child)))]
