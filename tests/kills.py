"""Kills commands at random moments, resumes them, and compares what they leave with a quiet run.

python -m tests.kills [--kills N] [--seed S] [run|audit|reproduce|endpoint ...]
python -m tests.kills --together run    (two processes in one folder instead)

Every process is a fork of this one, which has PyTorch imported: a kill takes a second, not ten.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import softmax

from selena.cli import main
from selena.experiments.paper import task
from selena.experiments.store import RunFolder
from selena.files.writing import write_json
from selena.models import asking, audit
from tests.auditing.verdicts import predictions, write_npz
from tests.experiments.conftest import TINY
from tests.test_cli import CONFIG

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MOST_KILLS = 4
"""So often one run is killed before it may end."""

COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("run", "--config", "run.toml", "--json", "out.json", "--out", "report"),
    "audit": (
        *("audit", "--predictions", "p.npz", "--attack", "confidence,entropy"),
        *(
            "--json",
            "out.json",
            "--html",
            "out.html",
            "--junit",
            "out.xml",
            "--fail-if",
            "auc>0.99",
        ),
    ),
    "reproduce": ("reproduce", "table2", "--dataset", "digits", "--scale", "tiny"),
    "endpoint": (),
}
TOGETHER = {
    "run": ("out.json", "report/report.json", "report/report.md", "report/report.html"),
    "audit": ("out.json", "out.html", "out.xml"),
    "reproduce": tuple(f"reproduction/table2.{end}" for end in ("md", "csv", "tex", "json")),
    "endpoint": ("out.json",),
}
WITH_TIMES = {
    "run": {
        "out.json": "rows",
        "report/report.json": "rows",
        "report/report.md": "",
        "report/report.html": "",
    },
    "audit": {},
    "reproduce": {"reproduction/table2.json": "rows"},
    "endpoint": {"out.json": "attacks"},
}
"""Files that hold times or counts of queries, and what of them must be equal."""


@dataclass
class Child:
    """A command in a process of its own."""

    pid: int

    @classmethod
    def start(cls, command: str, folder: Path) -> Child:
        pid = os.fork()
        if pid:
            return cls(pid)
        code = 1
        try:
            os.chdir(folder)
            log = os.open("log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
            if command == "endpoint":
                audit_endpoint()
            sys.argv = ["selena", *COMMANDS[command]]
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except KeyboardInterrupt:
            code = 128 + signal.SIGINT
        finally:
            os._exit(code)

    def wait(self) -> int:
        """Return its exit code; a signal's is negative."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def kill(self, number: int, seconds: float) -> bool:
        """Send a signal after a time; return whether it was still at work."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                return False
            time.sleep(0.001)
        os.kill(self.pid, number)
        code = self.wait()
        return code in (-number, 128 + number)


def prepare(folder: Path) -> None:
    """Write what the commands read."""
    folder.mkdir()
    (folder / "run.toml").write_text(CONFIG)
    write_npz(folder / "p.npz", predictions(400, 1.0))


def audit_endpoint() -> None:
    """Audit a function that is slow, and fails on every seventh call of a process."""
    generator = np.random.default_rng(0)
    x, weights = generator.normal(size=(240, 4)), generator.normal(size=(4, 3))
    y, calls = (x @ weights).argmax(axis=1), count()

    def ask(records: np.ndarray) -> np.ndarray:
        time.sleep(0.005)
        if next(calls) % 7 == 6:
            raise ConnectionError("busy")
        return np.asarray(softmax(records @ weights, axis=1))

    vars(asking)["sleep"] = lambda seconds: None
    report = audit(
        *(ask, (x[:120], y[:120]), (x[120:], y[120:])),
        batch_size=8,
        retries=2,
        cache="answers",
        attacks=("confidence", "entropy"),
    )
    write_json(Path("out.json"), report.to_json())
    sys.exit(0)


def left(command: str, folder: Path) -> dict[str, Any]:
    """Return everything that must be equal, by file."""
    found: dict[str, Any] = {}
    for path in sorted((folder / "runs").glob("digits-*")):
        run = RunFolder(path)
        manifest = run.manifest().to_json()
        del manifest["timings"], manifest["sha256"]
        found[path.name] = (
            manifest,
            (path / "model.safetensors").read_bytes(),
            (path / "audit.json").read_bytes(),
        )
    for name in TOGETHER[command]:
        content = (folder / name).read_bytes()
        key = WITH_TIMES[command].get(name)
        found[name] = content if key is None else json.loads(content)[key] if key else True
    # Artifacts finished before the kill may stay in runs/artifacts; temporary files may not.
    found["leftovers"] = [path.name for path in folder.rglob(".selena-*")]
    return found


def kill_all(command: str, kills: int, draw: random.Random, work: Path) -> Counter[str]:
    """Kill and resume until there were `kills`; raise where what is left differs."""
    prepare(work / "quiet")
    start = time.monotonic()
    assert Child.start(command, work / "quiet").wait() == 0
    length, right = time.monotonic() - start, left(command, work / "quiet")
    counts: Counter[str] = Counter()
    while counts["kills"] < kills:
        folder = work / "killed"
        prepare(folder)
        for _ in range(draw.randint(1, MOST_KILLS)):
            child, number = Child.start(command, folder), draw.choice(SIGNALS)
            if not child.kill(number, draw.uniform(0, length)):
                break
            counts["kills"] += 1
            print(end=".", flush=True)
            counts[signal.Signals(number).name] += 1
            there = {(folder / name).exists() for name in TOGETHER[command]}
            # Between two renames lies a moment that only SIGKILL can hit.
            assert len(there) == 1 or number == signal.SIGKILL, "some files without the others"
        code = Child.start(command, folder).wait()
        assert code == 0, (folder / "log").read_text()
        ours = left(command, folder)
        assert ours == right, [name for name in right if ours.get(name) != right[name]]
        counts["resumed, equal"] += 1
        shutil.rmtree(folder)
    return counts


def run_together(command: str, work: Path) -> None:
    """Run a command twice at once in one folder; raise where what is left differs."""
    for name, processes in (("quiet", 1), ("together", 2)):
        prepare(work / name)
        children = [Child.start(command, work / name) for _ in range(processes)]
        codes = [child.wait() for child in children]
        assert codes == [0] * processes, (work / name / "log").read_text()
    right, ours = left(command, work / "quiet"), left(command, work / "together")
    assert ours == right, [name for name in right if ours.get(name) != right[name]]


def run() -> None:
    """Read the arguments, kill, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("commands", nargs="*", default=list(COMMANDS))
    parser.add_argument("--kills", type=int, default=70, help="per command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--together", action="store_true", help="two processes, no kills")
    given = parser.parse_args()
    torch.set_num_threads(1)
    task.SCALES["tiny"] = TINY
    for command in given.commands:
        with tempfile.TemporaryDirectory() as work:
            if given.together:
                run_together(command, Path(work))
                continue
            start = time.monotonic()
            counts = kill_all(command, given.kills, random.Random(given.seed), Path(work))
            minutes = (time.monotonic() - start) / 60
            print(f"{command}: {dict(counts)} in {minutes:.1f} min", flush=True)


if __name__ == "__main__":
    run()
