"""A Ray cluster of emulated hosts on this machine.

As root on Linux a host has its own network, files (/tmp, /dev/shm, its home), names and processes:
nothing is shared but the programs, and killing its first process ends it as a lost machine ends.
Elsewhere a host is a group of processes with a home of its own.

A busy machine must not look like a broken one: nothing here waits for less than minutes, hosts
start one after another, and one that gives up starting is started again.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.keeper import end

# Of this process alone: other tests may run on this machine.
BRIDGE = f"selena{os.getpid() % 100_000}"
NET = f"10.213.{os.getpid() % 250 + 1}"
TOKEN = "0123456789abcdef" * 4
PATIENCE = 900.0
"""Seconds that anything may take before it counts as stuck."""
_STARTS = 4  # Ray gives a host 30 seconds to start

_SETTINGS = {
    # A lost machine is noticed within half a minute, a slow one is not taken for lost.
    "RAY_health_check_initial_delay_ms": "5000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "10000",
    "RAY_health_check_failure_threshold": "3",
    # Ray's own patience, with processes that start and with servers that answer.
    "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "300",
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_gcs_server_request_timeout_seconds": "300",
    "RAY_worker_register_timeout_seconds": "300",
    "TIMEOUT_FOR_SPECIFIC_SERVER_S": "300",
    # Not to kill workers because of what other programs of this machine need.
    "RAY_memory_monitor_refresh_ms": "0",
}


def can_isolate() -> bool:
    """Return whether this process may make namespaces and networks."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or not shutil.which("ip"):
        return False
    trial = subprocess.run(
        ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "true"],
        capture_output=True,
        check=False,
    )
    return trial.returncode == 0


@dataclass
class Host:
    """One host.

    Attributes:
        name: its name, which is also that of a resource that Ray knows it by.
        ip: its address.
        home: its home, and what else it writes where it has no files of its own.
        cable: its end of the network, out here.
        process: its first process.
        sessions: where Ray writes.
        isolated: whether it has a network and files of its own.
        plain: whether it has one core and the settings of the others.
    """

    name: str
    ip: str
    home: Path
    cable: str
    process: subprocess.Popen[bytes]
    sessions: Path
    isolated: bool
    plain: bool

    @property
    def alive(self) -> bool:
        """Whether it was not killed."""
        return self.process.poll() is None

    @property
    def scratch(self) -> Path:
        """A disk of a megabyte that nothing uses unless it is told to."""
        return self.home / "scratch"

    def _inside(self) -> int:
        """Return the number, out here, of its first process."""
        task = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return int(Path(task).read_text().split()[0])

    def kill(self) -> None:
        """End all its processes at once, as a power cut does."""
        if self.alive:
            end(self.process.pid)
        self.process.wait()

    def cut_off(self) -> None:
        """Take its network away: it lives, and nobody reaches it."""
        _ip("link", "set", self.cable, "down")

    def fill(self, *places: Path) -> None:
        """Fill its disks, by default Ray's and /dev/shm, to the last byte."""
        there = Path(f"/proc/{self._inside()}/root")
        for place in places or (self.sessions, Path("/dev/shm")):
            path = there / place.relative_to("/") / "filler"
            with suppress(OSError), path.open("wb", buffering=0) as filler:
                for size in (1 << 20, 1):
                    with suppress(OSError):
                        while filler.write(bytes(size)):
                            pass

    def files(self) -> list[str]:
        """Return the artifacts and temporary files of selena that lie on it."""
        there = Path(f"/proc/{self._inside()}/root") if self.isolated else Path("/")
        found: list[str] = []
        memory = [Path("/dev/shm")] if self.isolated else []
        for place in (*memory, self.sessions, self.home):
            for pattern in ("**/*.safetensors", "**/selena-shared-*", "**/.selena-*"):
                found += [str(path) for path in (there / place.relative_to("/")).glob(pattern)]
        return found

    def received(self) -> int:
        """Return how many bytes its network has brought it."""
        file = Path(f"/sys/class/net/{self.cable}/statistics/tx_bytes")
        return int(file.read_text()) if self.isolated else 0


class Cluster:
    """A head without cores for tasks, where drivers run too, and hosts that have some."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.isolated = can_isolate()
        self.head_ip = f"{NET}.1" if self.isolated else "127.0.0.1"
        self.port, self.client_port = _free_port(), _free_port()
        self.hosts: list[Host] = []
        self._started: list[subprocess.Popen[bytes]] = []
        self._keeper = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("keeper.py"))],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        # Hosts write where the head does; a name short enough for sockets below it.
        self.sessions = Path(tempfile.mkdtemp(prefix="selena-ray-", dir="/tmp"))
        self._keep("folder", str(self.sessions))
        self.environment = {
            **os.environ,
            **_SETTINGS,
            "HOME": str(folder / "head"),
            # Ray's server for drivers outside forks only to start others; gRPC's handlers of forks
            # now and then crash what it starts.
            "GRPC_ENABLE_FORK_SUPPORT": "0",
            "OMP_NUM_THREADS": "1",
            "RAY_ADDRESS": f"{self.head_ip}:{self.port}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            "RAY_DISABLE_IMPORT_WARNING": "1",
            "RAY_usage_stats_enabled": "0",
        }

    def start(self) -> None:
        """Start network and head."""
        if self.isolated:
            self._keep("link", BRIDGE)
            _ip("link", "add", BRIDGE, "type", "bridge")
            _ip("addr", "add", f"{NET}.1/24", "dev", BRIDGE)
            _ip("link", "set", BRIDGE, "up")
        for _ in range(_STARTS):
            head = self._ray(
                "head",
                self.environment,
                *("--head", "--num-cpus=0", f"--port={self.port}", "--include-dashboard=false"),
                *(f"--node-ip-address={self.head_ip}", f"--temp-dir={self.sessions}"),
                *("--object-store-memory=300000000",),
                *(f"--ray-client-server-port={self.client_port}",),
            )
            if self._runs("head", head):
                return
        raise AssertionError(f"The head did not start: {self.log('head')}")

    def add(self, name: str, *, cores: int = 1, gpus: int = 0, **environment: str) -> Host:
        """Start a host and return it once it is part of the cluster."""
        home = self.folder / name
        (home / "scratch").mkdir(parents=True)
        plain = cores == 1 and not gpus and not environment
        settings = {**self.environment, **environment, "HOME": str(home)}
        for _ in range(_STARTS):
            number = len(self.hosts) + 2
            ip = f"{NET}.{number}" if self.isolated else "127.0.0.1"
            process = self._ray(
                name,
                settings,
                *(f"--address={self.head_ip}:{self.port}", f"--num-cpus={cores}"),
                *(f"--num-gpus={gpus}", f"--resources={json.dumps({name: 1})}"),
                *(f"--node-ip-address={ip}", "--object-store-memory=200000000"),
            )
            cable, sessions = _cable(number), self.sessions
            host = Host(name, ip, home, cable, process, sessions, self.isolated, plain)
            self.hosts.append(host)
            if self._runs(name, process):
                return host
            host.kill()
        raise AssertionError(f"{name} did not start: {self.log(name)}")

    def host(self, name: str) -> Host:
        """Return the living host of this name."""
        (found,) = [host for host in self.hosts if host.name == name and host.alive]
        return found

    def have(self, count: int) -> list[Host]:
        """Return so many plain hosts, and see to it that Ray's list has them and no others."""
        for host in self.hosts:
            if not host.plain:
                host.kill()
        while sum(host.alive for host in self.hosts) < count:
            self.add(f"host-{len(self.hosts)}")
        self.wait_for(count)
        return [host for host in self.hosts if host.alive]

    def wait_for(self, count: int) -> None:
        """Wait until so many hosts are part of the cluster."""
        look = (
            "import ray, time; ray.init(log_to_driver=False)\n"
            f"while sum(n['Alive'] for n in ray.nodes()) != {count + 1}: time.sleep(0.5)"
        )  # these and the head
        subprocess.run(
            [sys.executable, "-c", look],
            env=self.environment,
            capture_output=True,
            check=True,
            timeout=PATIENCE,
        )

    def driver(self, folder: Path, *options: str, where: str = "ray") -> subprocess.Popen[bytes]:
        """Start a driver; what it says is in FOLDER/log."""
        return self.python(folder, "tests.cluster.driver", str(folder), where, *options)

    def python(self, folder: Path, module: str, *options: str) -> subprocess.Popen[bytes]:
        """Start a module beside the head; what it says is in FOLDER/log."""
        folder.mkdir(exist_ok=True)
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *options],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started.append(process)
        self._keep("process", process.pid)
        return process

    def check(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `selena cluster check`."""
        return subprocess.run(
            [sys.executable, "-m", "selena", "cluster", "check", *options],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    def log(self, name: str) -> str:
        """Return the last words of the head or of a host."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        """End everything."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        for process in (self._keeper, *self._started):
            process.wait(PATIENCE)

    def _keep(self, kind: str, what: str | int) -> None:
        """Tell the keeper what to end when this process is gone."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.write(f"{json.dumps([kind, what])}\n".encode())
        self._keeper.stdin.flush()

    def _runs(self, name: str, process: subprocess.Popen[bytes]) -> bool:
        """Wait until Ray's process says that it is part of the cluster; return False if it ends."""
        path, deadline = self.folder / f"{name}.log", time.monotonic() + PATIENCE
        while "Ray runtime started" not in path.read_text(errors="replace"):
            if process.poll() is not None:
                return False
            assert time.monotonic() < deadline, f"{name} is stuck: {self.log(name)}"
            time.sleep(0.1)
        return True

    def _ray(
        self, name: str, environment: dict[str, str], *options: str
    ) -> subprocess.Popen[bytes]:
        (self.folder / name).mkdir(exist_ok=True)
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
        ray += ["--include-log-monitor=false", *options]
        isolated = self.isolated and name != "head"
        scratch = self.folder / name / "scratch"
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                _apart(name, self.sessions, scratch, ray) if isolated else ray,
                env=environment,
                stdout=log,
                stderr=log,
                # A host reads the name of its network from there.
                stdin=subprocess.PIPE if isolated else subprocess.DEVNULL,
                start_new_session=True,
            )
        self._started.append(process)
        self._keep("process", process.pid)
        if isolated:
            self._wire(process)
        return process

    def _wire(self, process: subprocess.Popen[bytes]) -> None:
        """Give a host its end of a cable to the bridge, then let it start."""
        cable = _cable(len(self.hosts) + 2)
        inside = f"{cable}i"
        self._keep("link", cable)
        _ip("link", "add", cable, "type", "veth", "peer", "name", inside)
        _ip("link", "set", cable, "master", BRIDGE, "up")
        deadline = time.monotonic() + PATIENCE
        own = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{process.pid}/ns/net") == own and time.monotonic() < deadline:
            time.sleep(0.05)
        _ip("link", "set", inside, "netns", str(process.pid))
        assert process.stdin is not None
        process.stdin.write(f"{inside} {NET}.{len(self.hosts) + 2}/24\n".encode())
        process.stdin.close()


def _apart(name: str, sessions: Path, scratch: Path, command: list[str]) -> list[str]:
    """Return the command, run in namespaces of its own once its network is there."""
    script = (
        f"hostname {name}; read interface address; mount -t tmpfs -o size=64m none {sessions}; "
        f"mount -t tmpfs -o size=1m none {scratch}; "
        "mount -t tmpfs -o size=256m none /dev/shm; ip link set lo up; "
        "ip addr add $address dev $interface; "
        'ip link set $interface up; exec "$@" </dev/null'
    )
    unshare = ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
    return [*unshare, "--mount-proc", "sh", "-c", script, "sh", *command]


def _cable(number: int) -> str:
    return f"{BRIDGE}-{number}"


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("", 0))
        return int(free.getsockname()[1])


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Yield a cluster without hosts, and end it with all that it started."""
    made = Cluster(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
