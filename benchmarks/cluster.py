"""Table 2 on one host of a Ray cluster and on two: are the tables equal, and what is gained?

python -m benchmarks.cluster --json results/cluster/nodes.json    (as root; needs the extra ray)

The hosts are emulated on this machine, one core each (`tests/cluster/hosts.py`), and share its
memory. At this scale nothing is long enough to be sent to a cluster, so the threshold is lowered
here. Each number of hosts has a cluster of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from selena.environment import describe_environment
from selena.files import write_json

DATASET, SCALE = "digits", "quick"
WORTH = 1e10  # operations


def drive(folder: Path) -> None:
    """Make the table in `folder`, on the cluster of RAY_ADDRESS."""
    from selena.experiments.paper import table2
    from selena.experiments.paper.task import PaperTask, scale_named
    from selena.pools.choose import Machines
    from selena.training import executor

    vars(executor)["_WORTH_PROCESSES"] = WORTH
    task = PaperTask(DATASET, scale_named(SCALE), machines=Machines(executor="ray"))
    start = time.perf_counter()
    document = table2.run(task, folder / "runs", command="python -m benchmarks.cluster")
    seconds = time.perf_counter() - start
    lines = [[[cell.text, cell.spread] for cell in line] for line in document.table.lines]
    write_json(folder / "table.json", {"lines": lines, "seconds": seconds})


def on_hosts(count: int) -> dict[str, Any]:
    """Return the table and its time on so many hosts."""
    from tests.cluster.hosts import cluster

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with cluster(folder) as machines:
            for number in range(count):
                machines.add(f"host-{number}")
            machines.wait_for(count)
            before = os.getloadavg()[0]
            command = [sys.executable, "-m", "benchmarks.cluster", "--drive", str(folder)]
            subprocess.run(command, env=machines.environment, check=True)
            found: dict[str, Any] = json.loads((folder / "table.json").read_text())
            received = [host.received() for host in machines.hosts]
    return {**found, "load_before": before, "bytes_received": received}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        drive(options.drive)
        return
    found = {count: on_hosts(count) for count in (1, 2)}
    tables = [each.pop("lines") for each in found.values()]
    result = {
        "command": "python -m benchmarks.cluster --json results/cluster/nodes.json",
        "work": f"selena reproduce table2 --dataset {DATASET} --scale {SCALE}",
        "seed": 0,
        "n": 1,
        "spread": "one run each: none",
        "worth_operations": WORTH,
        "hosts": found,
        "tables_equal": tables[0] == tables[1],
        "time_ratio": found[1]["seconds"] / found[2]["seconds"],
        "table": tables[0],
        "environment": describe_environment(),
    }
    print(json.dumps({name: result[name] for name in ("hosts", "tables_equal", "time_ratio")}))
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
