"""Work on a Ray cluster of emulated hosts ends with the bytes of a local run, whatever dies."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from selena.files.writing import file_sha256
from tests.cluster.driver import FEATURES, NETWORKS, make_runs, train
from tests.cluster.hosts import Cluster, cluster
from tests.experiments.test_whole_runs import contents

pytest.importorskip("ray", reason="needs Ray: pip install 'selena-privacy[ray]'")
pytestmark = pytest.mark.cluster

_PATIENCE = 240.0


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of two hosts, with one core each."""
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        made.add("host-a")
        made.add("host-b")
        yield made


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The artifacts of a run in this process."""
    folder = tmp_path_factory.mktemp("alone")
    train(folder, "local", mixed=False, records=1_000)
    return artifacts(folder)


def artifacts(folder: Path) -> dict[str, str]:
    """Return the digest of each artifact, by name."""
    return {path.name: file_sha256(path) for path in (folder / "artifacts").glob("*.safetensors")}


def until(true: Callable[[], object], what: str) -> None:
    """Wait for something to be true."""
    deadline = time.monotonic() + _PATIENCE
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def done(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "done.json").read_text())
    return found


def log(folder: Path) -> str:
    return (folder / "log").read_text()


def test_two_hosts_give_the_bytes_of_one(
    machines: Cluster, alone: dict[str, str], tmp_path: Path
) -> None:
    driver = machines.driver(tmp_path)
    assert driver.wait(_PATIENCE) == 0, log(tmp_path)
    assert artifacts(tmp_path) == alone
    assert len(alone) == NETWORKS
    assert done(tmp_path)["sent"] == NETWORKS
    assert done(tmp_path)["bytes"] < 16_000  # a task without its records
    assert [host.files() for host in machines.hosts] == [[], []]


def test_check_says_who_may_take_part(machines: Cluster) -> None:
    machines.wait_for(2)
    said = machines.check()
    assert said.returncode == 0, said.stderr
    assert said.stdout.count("takes part: yes") == 2
    if machines.isolated:
        assert [line.split(" ")[0] for line in said.stdout.splitlines()] == ["host-a", "host-b"]
    unlike = machines.check(ATEN_CPU_CAPABILITY="default")
    assert unlike.returncode == 1
    assert unlike.stdout.count("takes part: no: instruction_set is") == 2
    without = machines.check("--task-gpus", "1")
    assert without.returncode == 1
    assert "can run a task on cuda" in without.stderr


def test_driver_may_be_outside_of_the_cluster(
    machines: Cluster, alone: dict[str, str], tmp_path: Path
) -> None:
    where = f"ray://{machines.head_ip}:{machines.client_port}"
    driver = machines.driver(tmp_path, where=where)
    assert driver.wait(_PATIENCE) == 0, log(tmp_path)
    assert artifacts(tmp_path) == alone


def test_records_travel_once_per_host(machines: Cluster, tmp_path: Path) -> None:
    if not machines.isolated:
        pytest.skip("needs root and the command ip: only then has a host a network of its own")
    before = [host.received() for host in machines.hosts]
    driver = machines.driver(tmp_path, "--large")
    assert driver.wait(_PATIENCE) == 0, log(tmp_path)
    size = 20_000 * FEATURES * 4
    received = [host.received() - b for host, b in zip(machines.hosts, before, strict=True)]
    assert all(size < each < 1.5 * size for each in received), received


def test_killed_driver_trains_only_what_is_missing(
    machines: Cluster, alone: dict[str, str], tmp_path: Path
) -> None:
    driver = machines.driver(tmp_path)
    until(lambda: len(artifacts(tmp_path)) >= 2 or driver.poll() is not None, log(tmp_path))
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    kept = artifacts(tmp_path)
    assert 2 <= len(kept) < NETWORKS
    assert machines.driver(tmp_path).wait(_PATIENCE) == 0, log(tmp_path)
    assert done(tmp_path)["sent"] == NETWORKS - len(kept)
    assert artifacts(tmp_path) == alone


def test_unlike_host_is_refused_by_name(
    machines: Cluster, alone: dict[str, str], tmp_path: Path
) -> None:
    odd = machines.add("host-odd", cores=4, ATEN_CPU_CAPABILITY="default")
    machines.wait_for(3)
    assert machines.driver(tmp_path).wait(_PATIENCE) == 0, log(tmp_path)
    assert artifacts(tmp_path) == alone
    named = "host-odd" if machines.isolated else "takes no part"
    (refusal,) = [line for line in log(tmp_path).splitlines() if "takes no part" in line]
    assert named in refusal
    assert "instruction_set is" in refusal
    assert "instead of" in refusal
    mixed = tmp_path / "mixed"
    assert machines.driver(mixed, "--mixed").wait(_PATIENCE) == 0, log(mixed)
    assert any("instruction_set" in each for each in done(mixed)["mixed"])
    assert not artifacts(mixed).keys() & alone.keys()  # never taken for the others
    odd.kill()


def test_runs_are_done_whole_elsewhere(machines: Cluster, tmp_path: Path) -> None:
    driver = machines.driver(tmp_path / "cluster", "--runs")
    make_runs(tmp_path / "here", "local")
    assert driver.wait(_PATIENCE) == 0, log(tmp_path / "cluster")
    found = contents(tmp_path / "cluster" / "runs")
    assert found == contents(tmp_path / "here" / "runs")
    assert len(found) == done(tmp_path / "cluster")["sent"] == 3
    assert [host.files() for host in machines.hosts[:2]] == [[], []]


@pytest.mark.parametrize("outside", [False, True])
def test_host_without_network_changes_no_byte(
    machines: Cluster, alone: dict[str, str], tmp_path: Path, outside: bool
) -> None:
    if not machines.isolated:
        pytest.skip("needs root and the command ip: only then has a host a network of its own")
    alive = sum(host.process.poll() is None for host in machines.hosts)
    cut = machines.add(f"host-cut{outside:d}")
    machines.wait_for(alive + 1)
    where = f"ray://{machines.head_ip}:{machines.client_port}" if outside else "ray"
    driver = machines.driver(tmp_path, where=where)
    until(lambda: len(artifacts(tmp_path)) >= 2 or driver.poll() is not None, log(tmp_path))
    assert driver.poll() is None
    cut.cut_off()
    assert driver.wait(_PATIENCE) == 0, log(tmp_path)
    cut.kill()
    assert artifacts(tmp_path) == alone
    assert f"was lost on {cut.name}" in log(tmp_path)


def test_killed_host_changes_no_byte(
    machines: Cluster, alone: dict[str, str], tmp_path: Path
) -> None:
    driver = machines.driver(tmp_path)
    until(lambda: len(artifacts(tmp_path)) >= 2 or driver.poll() is not None, log(tmp_path))
    assert driver.poll() is None
    machines.hosts[0].kill()
    assert driver.wait(_PATIENCE) == 0, log(tmp_path)
    assert artifacts(tmp_path) == alone
    assert done(tmp_path)["sent"] > NETWORKS  # what died with the host was done again
    assert "was lost on" in log(tmp_path)
