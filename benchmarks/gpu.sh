#!/usr/bin/env bash
# Tests and benchmarks on a machine with a CUDA device; figures go to results/gpu. Each step ends
# within ten minutes or is stopped, and can be run alone: benchmarks/gpu.sh [tests|purchase|resnet]
# Uses the Python that it finds ($PYTHON, or python3), which needs selena's dependencies and a
# PyTorch for CUDA.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PYTHONPATH="$PWD/src:$PWD${PYTHONPATH:+:$PYTHONPATH}"

run() { timeout 600 "${PYTHON:-python3}" -m "$@"; }
tests() { run pytest tests/test_cuda.py tests/training tests/defenses tests/attacks; }
purchase() { run benchmarks.gpu purchase; }
resnet() { run benchmarks.gpu resnet --epochs 2; }

[ $# -gt 0 ] || set -- tests purchase resnet
for step in "$@"; do
  echo "== $step"
  "$step"
done
