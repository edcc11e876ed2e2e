"""Ends what a test started, also when the test was killed.

python keeper.py reads from its input what there is to end, one JSON list per line: ["process", ID],
["link", NAME], ["folder", PATH]. When the input ends, because the test said so or is gone, it kills
the processes with all that they started, and removes the rest.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path


def end(process: int) -> None:
    """Kill a process, its group and all their descendants."""
    # First those that start others. A process that was found may have ended since.
    for each in [process, *_descendants(process)]:
        with suppress(ProcessLookupError, PermissionError):
            if os.getpgid(each) == each:
                os.killpg(each, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def _start(process: int) -> str:
    """Return when a process started, in ticks; empty if there is none."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def _descendants(process: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            children.setdefault(int(parent), []).append(int(folder.name))
    found, new = list[int](), [process]
    while new:
        new = [child for each in new for child in children.get(each, [])]
        found += new
    return found


def main() -> None:
    """Read, wait, and end everything."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    started: dict[int, str] = {}
    links, folders = list[str](), list[str]()
    for line in sys.stdin:
        kind, what = json.loads(line)
        if kind == "process":
            started[what] = _start(what)
        else:
            (links if kind == "link" else folders).append(what)
    for process, when in started.items():
        if when and when == _start(process):  # else it ended, and the number may be another's
            end(process)
    for link in links:
        subprocess.run(["ip", "link", "del", link], capture_output=True, check=False)
    for path in folders:
        shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    main()
