#!/usr/bin/env bash
# Tests and benchmarks on a machine with a CUDA device; figures go to results/gpu. Each step ends
# within ten minutes or is stopped, and can be run alone:
# benchmarks/gpu.sh [tests|purchase|steps|resnet|cifar10|cifar100|cifar100_references|cifar100_distances|cifar100_worst]
# `cifar10` trains on real images (CIFAR10_JPEG names them; benchmarks/cifar10_subset.py says in what
# form); stopped, it goes on when it is called again. So do the steps of CIFAR-100 (CIFAR100_WEBP names
# the folder that benchmarks/cifar100_archive.py reads). What they write to results/gpu is a few MiB; the
# networks stay in build/gpu/runs, 45 MB each, so all steps want the same machine.
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
# `cifar100` trains and attacks the paper's row; the other steps attack the models that it left.
cifar100() {
  [ -e build/gpu/cifar-100-python.tar.gz ] || archive_of_cifar100 || return 0
  run selena run --config benchmarks/gpu-cifar100.toml --runs build/gpu/runs --out results/gpu/cifar100
}
archive_of_cifar100() {
  if [ -z "${CIFAR100_WEBP:-}" ]; then
    echo "skipped: CIFAR100_WEBP names no images"
    return 1
  fi
  run benchmarks.cifar100_archive "$CIFAR100_WEBP" build/gpu
}
# LiRA and RMIA with 8 reference models of the undefended model; 8 of SELENA would take 200 networks.
cifar100_references() { attack_cifar100 "undefended" references lira,rmia; }
cifar100_distances() { attack_cifar100 "*" distances boundary; }
attack_cifar100() {
  run selena attack build/gpu/runs/cifar100-$1-seed0-* --config benchmarks/gpu-cifar100.toml \
    --attack "$3" --json "results/gpu/cifar100/$2.json"
}
# The worst case of both, each tuned, by 8 models per defense: small networks and few members (--scale quick).
cifar100_worst() {
  run selena reproduce worst-case --dataset cifar100 --scale quick --data-dir build/gpu --device cuda \
    --defense undefended,selena --runs build/gpu/runs --out results/gpu/cifar100-worst-case
}

[ $# -gt 0 ] || set -- tests purchase steps resnet cifar10 cifar100
for step in "$@"; do
  echo "== $step"
  "$step"
done
