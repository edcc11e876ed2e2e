"""Runs every benchmark and writes benchmarks/latest.json.

python -m benchmarks
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import attacks, flips, membership_networks, memguard, thresholds, training
from selena.files.writing import write_json


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    result = {"command": "python -m benchmarks", **attacks.run()}
    for benchmark in (thresholds, memguard, flips, membership_networks, training):
        result["stages"] |= benchmark.run()["stages"]
    path = Path(__file__).with_name("latest.json")
    write_json(path, result)
    print(f"{'stage':24} {'ratio':>10} {'utilisation':>12}")
    for name, stage in sorted(result["stages"].items()):
        used = f"{stage['utilisation']:12.0%}" if "utilisation" in stage else ""
        print(f"{name:24} {stage['ratio']:8.1f} x {used}")
    print(f"Written: {path}")


if __name__ == "__main__":
    main()
