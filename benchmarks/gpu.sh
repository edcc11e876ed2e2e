#!/usr/bin/env bash
# Tests and benchmarks on a machine with a CUDA device; figures go to results/gpu. Each step ends
# within ten minutes or is stopped, and can be run alone: benchmarks/gpu.sh [tests|purchase|steps|resnet|cifar10]
# `cifar10` trains on real images (CIFAR10_JPEG names them; benchmarks/cifar10_subset.py says in what
# form); stopped, it goes on when it is called again.
# Uses the Python that it finds ($PYTHON, or python3), which needs selena's dependencies and a
# PyTorch for CUDA.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PYTHONPATH="$PWD/src:$PWD${PYTHONPATH:+:$PYTHONPATH}"

run() { timeout 600 "${PYTHON:-python3}" -m "$@"; }
tests() { run pytest tests/test_cuda.py tests/training tests/defenses tests/attacks; }
purchase() { run benchmarks.gpu purchase; }
resnet() { run benchmarks.gpu resnet --epochs 2; }
steps() { run benchmarks.gpu_steps; }
cifar10() {
  if [ -z "${CIFAR10_JPEG:-}" ]; then
    echo "skipped: CIFAR10_JPEG names no images"
    return
  fi
  run benchmarks.cifar10_subset "$CIFAR10_JPEG" build/gpu --train 50000 --test 10000
  run selena run --config benchmarks/gpu-cifar10.toml --runs build/gpu/runs --out results/gpu/cifar10
}

[ $# -gt 0 ] || set -- tests purchase steps resnet cifar10
for step in "$@"; do
  echo "== $step"
  "$step"
done
