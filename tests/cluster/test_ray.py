"""Work on a Ray cluster of emulated hosts ends with the bytes of a local run, whatever dies."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from selena.files.writing import file_sha256
from tests.cluster.driver import FEATURES, NETWORKS, make_runs, train
from tests.cluster.hosts import PATIENCE, Cluster, Host, cluster
from tests.cluster.keeper import end
from tests.experiments.test_whole_runs import contents

pytest.importorskip("ray", reason="needs Ray: pip install 'selena-privacy[ray]'")
pytestmark = pytest.mark.cluster

Driver = subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster."""
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def machines(running: Cluster) -> Cluster:
    """The cluster with two hosts, whatever the test before did to them, with one core each."""
    running.have(2)
    return running


@pytest.fixture
def isolated(machines: Cluster) -> Cluster:
    """The same, of hosts that have networks and disks of their own."""
    if not machines.isolated:
        pytest.skip("needs root and the command ip: only then has a host a network of its own")
    return machines


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The artifacts of a run in this process."""
    folder = tmp_path_factory.mktemp("alone")
    train(folder, "local")
    return artifacts(folder)


def artifacts(folder: Path) -> dict[str, str]:
    """Return the digest of each artifact, by name."""
    return {path.name: file_sha256(path) for path in (folder / "artifacts").glob("*.safetensors")}


def end_of(driver: Driver, folder: Path) -> int:
    """Wait for a driver and return its exit status."""
    try:
        return driver.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        end(driver.pid)
        raise AssertionError(f"The driver is stuck: {log(folder)}") from None


def paused_at(driver: Driver, folder: Path) -> str:
    """Wait until a driver stands still, and return the host that got the last task."""
    deadline = time.monotonic() + PATIENCE
    while not (folder / "paused").exists():
        assert driver.poll() is None, log(folder)
        assert time.monotonic() < deadline, log(folder)
        time.sleep(0.02)
    return (folder / "paused").read_text()


def go_on(driver: Driver, folder: Path) -> int:
    """Let a driver that stands still go on to its end."""
    (folder / "go").touch()
    return end_of(driver, folder)


def done(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "done.json").read_text())
    return found


def log(folder: Path) -> str:
    return (folder / "log").read_text()


def alive(machines: Cluster) -> list[Host]:
    return [host for host in machines.hosts if host.alive]


def test_two_hosts_give_the_bytes_of_one(
    machines: Cluster, alone: dict[str, str], tmp_path: Path
) -> None:
    driver = machines.driver(tmp_path)
    assert end_of(driver, tmp_path) == 0, log(tmp_path)
    assert artifacts(tmp_path) == alone
    assert len(alone) == NETWORKS
    assert done(tmp_path)["sent"] == NETWORKS
    assert done(tmp_path)["bytes"] < 16_000  # a task without its records
    assert [host.files() for host in alive(machines)] == [[], []]


def test_check_says_who_may_take_part(machines: Cluster) -> None:
    said = machines.check()
    assert said.returncode == 0, said.stderr
    assert said.stdout.count("takes part: yes") == 2
    if machines.isolated:
        named = [line.split(" ")[0] for line in said.stdout.splitlines()]
        assert named == sorted(host.name for host in alive(machines))
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
    assert end_of(machines.driver(tmp_path, where=where), tmp_path) == 0, log(tmp_path)
    assert artifacts(tmp_path) == alone


def test_records_travel_once_per_host(isolated: Cluster, tmp_path: Path) -> None:
    hosts = alive(isolated)
    before = [host.received() for host in hosts]
    assert end_of(isolated.driver(tmp_path, "--large"), tmp_path) == 0, log(tmp_path)
    size = 20_000 * FEATURES * 4
    received = [host.received() - b for host, b in zip(hosts, before, strict=True)]
    assert all(size < each < 1.5 * size for each in received), received


def test_killed_driver_trains_only_what_is_missing(
    machines: Cluster, alone: dict[str, str], tmp_path: Path
) -> None:
    driver = machines.driver(tmp_path, "--pause")
    paused_at(driver, tmp_path)
    end(driver.pid)
    driver.wait()
    kept = artifacts(tmp_path)
    assert 2 <= len(kept) < NETWORKS
    assert end_of(machines.driver(tmp_path), tmp_path) == 0, log(tmp_path)
    assert done(tmp_path)["sent"] == NETWORKS - len(kept)
    assert artifacts(tmp_path) == alone


def test_unlike_host_is_refused_by_name(
    machines: Cluster, alone: dict[str, str], tmp_path: Path
) -> None:
    machines.add(f"host-odd{len(machines.hosts)}", cores=4, ATEN_CPU_CAPABILITY="default")
    machines.wait_for(3)
    assert end_of(machines.driver(tmp_path), tmp_path) == 0, log(tmp_path)
    assert artifacts(tmp_path) == alone
    named = "host-odd" if machines.isolated else "takes no part"
    (refusal,) = [line for line in log(tmp_path).splitlines() if "takes no part" in line]
    assert named in refusal
    assert "instruction_set is" in refusal
    assert "instead of" in refusal
    mixed = tmp_path / "mixed"
    assert end_of(machines.driver(mixed, "--mixed"), mixed) == 0, log(mixed)
    assert any("instruction_set" in each for each in done(mixed)["mixed"])
    assert not artifacts(mixed).keys() & alone.keys()  # never taken for the others


def test_runs_are_done_whole_elsewhere(machines: Cluster, tmp_path: Path) -> None:
    driver = machines.driver(tmp_path / "cluster", "--runs")
    make_runs(tmp_path / "here", "local")
    assert end_of(driver, tmp_path / "cluster") == 0, log(tmp_path / "cluster")
    found = contents(tmp_path / "cluster" / "runs")
    assert found == contents(tmp_path / "here" / "runs")
    assert len(found) == done(tmp_path / "cluster")["sent"] == 3
    assert [host.files() for host in alive(machines)] == [[], []]


@pytest.mark.parametrize("outside", [False, True])
def test_host_without_network_changes_no_byte(
    isolated: Cluster, alone: dict[str, str], tmp_path: Path, outside: bool
) -> None:
    where = f"ray://{isolated.head_ip}:{isolated.client_port}" if outside else "ray"
    driver = isolated.driver(tmp_path, "--pause", where=where)
    cut = isolated.host(paused_at(driver, tmp_path))
    cut.cut_off()
    assert go_on(driver, tmp_path) == 0, log(tmp_path)
    cut.kill()
    assert artifacts(tmp_path) == alone
    assert f"was lost on {cut.name}" in log(tmp_path)


def test_killed_host_changes_no_byte(
    machines: Cluster, alone: dict[str, str], tmp_path: Path
) -> None:
    driver = machines.driver(tmp_path, "--pause")
    machines.host(paused_at(driver, tmp_path)).kill()
    assert go_on(driver, tmp_path) == 0, log(tmp_path)
    assert artifacts(tmp_path) == alone
    assert done(tmp_path)["sent"] > NETWORKS  # what died with the host was done again
    assert "was lost on" in log(tmp_path)


@pytest.mark.parametrize("during", [False, True])
def test_full_disk_changes_no_byte_or_is_named(
    isolated: Cluster, alone: dict[str, str], tmp_path: Path, during: bool
) -> None:
    full = alive(isolated)[0]
    if during:
        driver = isolated.driver(tmp_path, "--pause")
        full = isolated.host(paused_at(driver, tmp_path))
        full.fill()
        ended = go_on(driver, tmp_path)
    else:
        full.fill()
        ended = end_of(isolated.driver(tmp_path), tmp_path)
    full.kill()
    error = [line for line in log(tmp_path).splitlines() if line.startswith("Error: ")]
    assert (ended == 0 and artifacts(tmp_path) == alone) or full.name in error[-1], log(tmp_path)


def test_task_on_a_full_disk_is_done_elsewhere(isolated: Cluster, tmp_path: Path) -> None:
    for host in alive(isolated)[1:]:
        host.kill()
    name = f"host-full{len(isolated.hosts)}"
    scratch = str(isolated.folder / name / "scratch")
    full = isolated.add(name, JOBLIB_TEMP_FOLDER=scratch)
    full.fill(full.scratch)
    isolated.wait_for(2)
    assert end_of(isolated.driver(tmp_path / "two", "--runs"), tmp_path / "two") == 0
    said = log(tmp_path / "two")
    assert f"was lost on {name}" in said
    assert "its disk is full" in said
    make_runs(tmp_path / "here", "local")
    assert contents(tmp_path / "two" / "runs") == contents(tmp_path / "here" / "runs")
    for host in alive(isolated):
        if host is not full:
            host.kill()
    isolated.wait_for(1)
    assert end_of(isolated.driver(tmp_path / "one", "--runs"), tmp_path / "one") == 1
    (error,) = [line for line in log(tmp_path / "one").splitlines() if line.startswith("Error: ")]
    assert re.search(rf"[a-z_]+, seed 0 was lost 3 times, the last time on {name} ", error)
    assert "JOBLIB_TEMP_FOLDER" in error


def test_killed_test_leaves_nothing_running(tmp_path: Path) -> None:
    whole = "import sys, pathlib, time; from tests.cluster.hosts import Cluster\n"
    whole += "made = Cluster(pathlib.Path(sys.argv[1])); made.start(); made.add('host-a')\n"
    whole += "print(made.sessions, flush=True); time.sleep(1e6)"
    command = [sys.executable, "-c", whole, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as test:
        assert test.stdout is not None
        sessions = test.stdout.readline().strip()
        assert processes_of(sessions)
        test.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while processes_of(sessions) or Path(sessions).exists():
        assert time.monotonic() < deadline, processes_of(sessions)
        time.sleep(0.1)


def processes_of(sessions: str) -> list[str]:
    """Return the processes of a cluster: each of Ray's is told the folder of its sessions."""
    assert len(sessions) > 10
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [each for each in found if sessions in each]
