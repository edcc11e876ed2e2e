"""Tasks on GPUs of a Ray cluster: who gets which, how many share one, and on what they compute.

Ray believes the number of GPUs that a host declares, and the workers have the emulated CUDA device.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cluster.driver import NETWORKS
from tests.cluster.hosts import Cluster, cluster
from tests.cluster.test_ray import artifacts, end_of, log

pytest.importorskip("ray", reason="needs Ray: pip install 'selena-privacy[ray]'")
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not shutil.which("c++"), reason="needs a C++ compiler: emulates a GPU"),
    pytest.mark.skipif(torch.version.cuda is not None, reason="PyTorch has CUDA of its own"),
]

ROOT = Path(__file__).parents[2]
_BUILD = (
    "import tests.emulated_cuda as emulated, torch, pathlib;"
    "print(emulated.build(pathlib.Path(torch.__file__).parent))"
)


@pytest.fixture(scope="module")
def device() -> Iterator[str]:
    """The library of the emulated device."""
    made = subprocess.run(
        [sys.executable, "-c", _BUILD], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    path = made.stdout.strip()
    yield path
    shutil.rmtree(Path(path).parent)


@pytest.fixture(scope="module")
def given(device: str) -> dict[str, str]:
    """Environment of a host whose workers have the emulated device."""
    path = [str(Path(__file__).with_name("gpu_site")), str(ROOT), *filter(None, sys.path)]
    return {"SELENA_EMULATED_DEVICE": device, "PYTHONPATH": os.pathsep.join(path)}


@pytest.fixture(scope="module")
def machines(given: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A host with a GPU and one without, with four cores each."""
    with cluster(tmp_path_factory.mktemp("gpus")) as made:
        made.add("host-none", cores=4, gpus=0, **given)
        made.add("host-one", cores=4, gpus=1, **given)
        yield made


def seen(machines: Cluster, folder: Path, share: float, tasks: int) -> list[dict[str, Any]]:
    """Return what tasks saw that need such a share of a GPU."""
    options = str(folder), str(share), str(tasks)
    driver = machines.python(folder, "tests.cluster.gpu_tasks", *options)
    assert end_of(driver, folder) == 0, log(folder)
    found: list[dict[str, Any]] = json.loads((folder / "seen.json").read_text())
    assert len(found) == tasks
    for each in found:
        assert (each["device"], each["sum"], each["count"]) == ("cuda", 3.0, 1)
        # What Ray gave to the task is what its process had when it first used a GPU.
        assert each["sees"] == [each["given"]]
    # So each task needs a process of its own.
    assert len({(each["host"], each["process"]) for each in found}) == tasks
    return found


def test_two_tasks_of_a_half_share_one_gpu(machines: Cluster, tmp_path: Path) -> None:
    found = seen(machines, tmp_path, 0.5, 4)
    assert {each["given"] for each in found} == {"0"}
    assert max(each["at_once"] for each in found) == 2  # although there are four cores
    assert len({each["host"] for each in found}) == 1


def test_tasks_use_all_gpus_one_each(
    machines: Cluster, given: dict[str, str], tmp_path: Path
) -> None:
    two = machines.add("host-two", cores=4, gpus=2, **given)
    found = seen(machines, tmp_path, 1, 6)
    two.kill()
    machines.wait_for(2)
    assert 2 <= max(each["at_once"] for each in found) <= 3
    assert {each["given"] for each in found} == {"0", "1"}
    if machines.isolated:
        used = {(each["host"], each["given"]) for each in found}
        assert used == {("host-one", "0"), ("host-two", "0"), ("host-two", "1")}


def test_device_is_that_of_the_worker(
    machines: Cluster, given: dict[str, str], tmp_path: Path
) -> None:
    assert not torch.cuda.is_available()  # neither here nor where the driver is
    driver = machines.driver(tmp_path / "there", "--gpus")
    here = tmp_path / "here"
    code = "import tests.emulated_cuda, runpy; runpy.run_module('tests.cluster.driver', "
    code += "run_name='__main__')"
    local = subprocess.run(
        [sys.executable, "-c", code, str(here), "local", "--gpus"],
        env={**os.environ, **given, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert local.returncode == 0, local.stderr
    assert end_of(driver, tmp_path / "there") == 0, log(tmp_path / "there")
    assert artifacts(tmp_path / "there") == artifacts(here)  # names tell the device
    assert len(artifacts(here)) == NETWORKS


def test_check_counts_tasks_per_gpu(machines: Cluster) -> None:
    said = machines.check("--task-gpus", "0.5")
    assert said.returncode == 0, said.stderr
    counts = [line for line in said.stdout.splitlines() if "tasks at once 2" in line]
    assert len(counts) == 1
    assert "4 cores, 1 GPUs" in counts[0]
    assert said.stdout.count("too few cores or GPUs") == 1
