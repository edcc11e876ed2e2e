"""Runs every benchmark and writes benchmarks/latest.json.

python -m benchmarks
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import attacks, memguard, thresholds


def main() -> None:
    result = attacks.run()
    for benchmark in (thresholds, memguard):
        result["stages"] |= benchmark.run()["stages"]
    path = Path(__file__).with_name("latest.json")
    path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for name, stage in sorted(result["stages"].items()):
        print(f"{name:24} {stage['ratio']:8.1f} x")
    print(f"Written: {path}")


if __name__ == "__main__":
    main()
