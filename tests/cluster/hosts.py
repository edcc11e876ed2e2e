"""A Ray cluster of emulated hosts on this machine.

As root on Linux a host has its own network, files (/tmp, /dev/shm, its home), names and processes:
nothing is shared but the programs, and killing its first process ends it as a lost machine ends.
Elsewhere a host is a group of processes with a home of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

# Of this process alone: other tests may run on this machine.
BRIDGE = f"selena{os.getpid() % 100_000}"
NET = f"10.213.{os.getpid() % 250 + 1}"
TOKEN = "0123456789abcdef" * 4
_WAIT = 120.0

# A lost machine is noticed within seconds.
_FAST = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1500",
    "RAY_health_check_failure_threshold": "3",
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
        name: its name.
        ip: its address.
        home: its home, and what else it writes where it has no files of its own.
        cable: its end of the network, out here.
        process: its first process.
        sessions: where Ray writes.
        isolated: whether it has a network and files of its own.
    """

    name: str
    ip: str
    home: Path
    cable: str
    process: subprocess.Popen[bytes]
    sessions: Path
    isolated: bool

    def _inside(self) -> int:
        """Return the number, out here, of its first process."""
        task = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return int(Path(task).read_text().split()[0])

    def kill(self) -> None:
        """End all its processes at once, as a power cut does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def cut_off(self) -> None:
        """Take its network away: it lives, and nobody reaches it."""
        _ip("link", "set", self.cable, "down")

    def fill(self) -> None:
        """Fill its disks, that of Ray's sessions and /dev/shm, to the last byte."""
        there = Path(f"/proc/{self._inside()}/root")
        for place in (self.sessions, Path("/dev/shm")):
            path = there / place.relative_to("/") / "filler"
            with suppress(OSError), path.open("wb", buffering=0) as filler:
                while filler.write(bytes(1 << 20)):
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
        # Hosts write where the head does; a name short enough for sockets below it.
        self.sessions = Path(tempfile.mkdtemp(prefix="selena-ray-", dir="/tmp"))
        self.environment = {
            **os.environ,
            **_FAST,
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
            _ip("link", "add", BRIDGE, "type", "bridge")
            _ip("addr", "add", f"{NET}.1/24", "dev", BRIDGE)
            _ip("link", "set", BRIDGE, "up")
        self._head = self._ray(
            "head",
            self.environment,
            *("--head", "--num-cpus=0", f"--port={self.port}", "--include-dashboard=false"),
            *(f"--node-ip-address={self.head_ip}", f"--temp-dir={self.sessions}"),
            *("--object-store-memory=300000000", f"--ray-client-server-port={self.client_port}"),
        )

    def add(self, name: str, *, cores: int = 1, **environment: str) -> Host:
        """Start a host and return it; it takes seconds to join."""
        number = len(self.hosts) + 2
        ip = f"{NET}.{number}" if self.isolated else "127.0.0.1"
        home = self.folder / name
        home.mkdir()
        settings = {**self.environment, **environment, "HOME": str(home)}
        process = self._ray(
            name,
            settings,
            *(f"--address={self.head_ip}:{self.port}", f"--num-cpus={cores}"),
            *(f"--node-ip-address={ip}", "--object-store-memory=200000000"),
        )
        host = Host(name, ip, home, _cable(number), process, self.sessions, self.isolated)
        self.hosts.append(host)
        return host

    def wait_for(self, count: int) -> None:
        """Wait until so many hosts are part of the cluster."""
        look = (
            "import ray; ray.init(log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))"
        )
        deadline = time.monotonic() + _WAIT
        while time.monotonic() < deadline:
            said = subprocess.run(
                [sys.executable, "-c", look], env=self.environment, capture_output=True, check=False
            )
            if said.stdout.split()[-1:] == [str(count + 1).encode()]:  # and the head
                return
        raise AssertionError(f"not {count} hosts: {said.stdout!r} {said.stderr!r}")

    def driver(self, folder: Path, *options: str, where: str = "ray") -> subprocess.Popen[bytes]:
        """Start a driver; what it says is in FOLDER/log."""
        folder.mkdir(exist_ok=True)
        with (folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.cluster.driver", str(folder), where, *options],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def check(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `selena cluster check`."""
        return subprocess.run(
            [sys.executable, "-m", "selena", "cluster", "check", *options],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def stop(self) -> None:
        """End everything."""
        for host in self.hosts:
            host.kill()
        with suppress(ProcessLookupError):
            os.killpg(self._head.pid, signal.SIGKILL)
        self._head.wait()
        if self.isolated:
            for host in self.hosts:
                _ip("link", "del", host.cable, check=False)
            _ip("link", "del", BRIDGE, check=False)

    def _ray(
        self, name: str, environment: dict[str, str], *options: str
    ) -> subprocess.Popen[bytes]:
        (self.folder / name).mkdir(exist_ok=True)
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *options]
        isolated = self.isolated and name != "head"
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                _apart(name, self.sessions, ray) if isolated else ray,
                env=environment,
                stdout=log,
                stderr=log,
                # A host reads the name of its network from there.
                stdin=subprocess.PIPE if isolated else subprocess.DEVNULL,
                start_new_session=True,
            )
        if isolated:
            self._wire(process)
        return process

    def _wire(self, process: subprocess.Popen[bytes]) -> None:
        """Give a host its end of a cable to the bridge, then let it start."""
        cable = _cable(len(self.hosts) + 2)
        inside = f"{cable}i"
        _ip("link", "add", cable, "type", "veth", "peer", "name", inside)
        _ip("link", "set", cable, "master", BRIDGE, "up")
        deadline = time.monotonic() + _WAIT
        own = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{process.pid}/ns/net") == own and time.monotonic() < deadline:
            time.sleep(0.05)
        _ip("link", "set", inside, "netns", str(process.pid))
        assert process.stdin is not None
        process.stdin.write(f"{inside} {NET}.{len(self.hosts) + 2}/24\n".encode())
        process.stdin.close()


def _apart(name: str, sessions: Path, command: list[str]) -> list[str]:
    """Return the command, run in namespaces of its own once its network is there."""
    script = (
        f"hostname {name}; read interface address; mount -t tmpfs -o size=64m none {sessions}; "
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
        shutil.rmtree(made.sessions, ignore_errors=True)
