"""Tasks that say which GPUs they see, and how many of them run at once.

python -m tests.cluster.gpu_tasks FOLDER SHARE TASKS

sends TASKS tasks that need SHARE of a GPU to the cluster of RAY_ADDRESS. Each waits for another one
before it ends. FOLDER/seen.json, at the end, holds what each one saw.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from selena.pools.choose import open_cluster
from selena.workspace import Workspace
from tests.cluster.hosts import PATIENCE


def meet(folder: str) -> dict[str, Any]:
    """Wait for the other task of a pair: the first for the second, the third for the fourth..."""
    import torch

    from tests.emulated_cuda import visible

    place = Path(folder)
    running = place / f"running-{os.getpid()}-{socket.gethostname()}"
    running.touch()
    number = _count_me(place)
    at_once = len(list(place.glob("running-*")))
    deadline = time.monotonic() + PATIENCE
    while len(list(place.glob("began-*"))) < number + number % 2:
        assert time.monotonic() < deadline, f"task {number} waits for another one"
        at_once = max(at_once, len(list(place.glob("running-*"))))
        time.sleep(0.02)
    made = torch.ones(3, device="cuda").sum()
    running.unlink()
    return {
        "number": number,
        "host": socket.gethostname(),
        "process": os.getpid(),
        "given": os.environ["CUDA_VISIBLE_DEVICES"],
        "sees": list(visible()),
        "count": torch.cuda.device_count(),
        "device": made.device.type,
        "sum": float(made.cpu()),
        "at_once": at_once,
    }


def _count_me(place: Path) -> int:
    """Return this task's number, from 1 on, in the order in which tasks begin."""
    for number in range(1, 1000):
        try:
            (place / f"began-{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        return number
    raise AssertionError("too many tasks")


if __name__ == "__main__":
    # Under its own name, not as __main__, the function is found on the hosts.
    from tests.cluster import gpu_tasks

    folder, share, tasks = sys.argv[1:]
    pool = open_cluster(Workspace(executor="ray", task_gpus=float(share)), 1)
    found = dict(pool.run(gpu_tasks.meet, [folder] * int(tasks), []))
    (Path(folder) / "seen.json").write_text(json.dumps([found[i] for i in sorted(found)]))
