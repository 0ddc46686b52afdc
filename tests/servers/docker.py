"""Debian's Docker Engine for tests: `Host`, a machine as far as an engine can tell, and `Engine`, dockerd on it.

A host is a network namespace, and namespaces of mounts and of the name held by a process of ours; its /run is its own.
Nothing of the engine is installed, and everything is killed by pid. What a killed run left, the next one removes.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.servers import debian

_PACKAGES = (
    "docker.io",
    "containerd",
    "runc",
    "iptables",
    "tini",
    "busybox-static",
    "libip4tc2",
    "libip6tc2",
    "libxtables12",
    "libdevmapper1.02.1",
    "libmnl0",
    "libnftnl11",
    "libseccomp2",
)
_DEADLINE = 60.0
_CONTAINERD = "/run/containerd/containerd.sock"
_SETUP = "mount -t tmpfs tmpfs /run && mkdir -p /run/docker/plugins /run/lock"
IMAGE = "bb"
"""The image that `Engine.start` imports: a static busybox with a shell."""


def root() -> Path:
    """Where the engine's programs are."""
    return debian.unpacked(*_PACKAGES)


def programs() -> Path:
    """A directory with an `iptables` in it, which Debian makes when the package is configured."""
    directory = debian.cache() / "docker-bin"
    directory.mkdir(exist_ok=True)
    for name in ("iptables", "ip6tables", "iptables-save", "ip6tables-save", "iptables-restore", "ip6tables-restore"):
        link = directory / name
        if not link.is_symlink() or not link.exists():
            with suppress(FileNotFoundError):
                link.unlink()
            with suppress(FileExistsError):
                link.symlink_to(root() / "usr/sbin/xtables-nft-multi")
    return directory


def environment() -> dict[str, str]:
    """What dockerd and iptables run with."""
    base = root()
    path = [programs(), base / "usr/bin", base / "usr/sbin", base / "sbin", Path("/usr/sbin"), Path("/usr/bin"), "/bin"]
    libraries = [base / "usr/lib/x86_64-linux-gnu", base / "lib/x86_64-linux-gnu"]
    return {
        "PATH": ":".join(map(str, path)),
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
        "XTABLES_LIBDIR": str(base / "usr/lib/x86_64-linux-gnu/xtables"),
        "HOME": "/root",
    }


def wait_for(what: Callable[[], Any], why: str, seconds: float = _DEADLINE) -> Any:
    """The first true answer of `what`; TimeoutError names `why` it was waited for."""
    until = time.monotonic() + seconds
    while True:
        if found := what():
            return found
        if time.monotonic() > until:
            raise TimeoutError(f"not within {seconds:g} s: {why}")
        time.sleep(0.05)


class Host:
    """A machine's namespaces. `directory` is short, so that sockets fit into it; programs see it under its own path.

    Its network is one of its own, or that of a namespace which somebody else makes and removes.
    """

    def __init__(self, name: str, network: str = "") -> None:
        self.name = f"dlt-{os.getpid()}-{name}"
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir="/tmp"))
        self.namespace = f"/run/netns/{network or self.name}"
        if not network:
            _run("ip", "netns", "add", self.name)
            self.ip("link", "set", "lo", "up")
        self._holder = subprocess.Popen(
            [
                *("nsenter", f"--net={self.namespace}", "setpriv", "--pdeathsig", "KILL"),
                *("unshare", "--mount", "--uts", "--propagation", "private", "sh", "-c"),
                f"{_SETUP} && hostname {name} && echo ready && exec sleep infinity",
            ],
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            raise RuntimeError(f"{self.name}: no namespaces")

    def ip(self, *words: str) -> str:
        """What iproute2 says on it."""
        return _run("ip", "-n", self.name, *words)

    def command(self, *words: str) -> list[str]:
        """The words that run a program on it."""
        return ["nsenter", f"--target={self._holder.pid}", "--net", "--mount", "--uts", *words]

    def run(self, *words: str, check: bool = True, timeout: float = _DEADLINE) -> "subprocess.CompletedProcess[str]":
        """Run a program on it."""
        done = subprocess.run(
            self.command(*words),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            env={**os.environ, **environment()},
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
        return done

    def start(self, words: Sequence[str], log: Path, env: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        """Start a daemon on it, which ends with the thread that starts it, and so with this process."""
        with log.open("ab") as file:
            return subprocess.Popen(
                self.command("setpriv", "--pdeathsig", "KILL", *words), stdout=file, stderr=file, env=dict(env)
            )

    def remove(self) -> None:
        """Take it away; its daemons must have ended."""
        self._holder.kill()
        self._holder.wait(_DEADLINE)
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


class Engine:
    """dockerd on a host. Containers outlive it where `--live-restore` is among the options."""

    def __init__(self, host: Host, options: Sequence[str] = ()) -> None:
        self.host, self.options = host, tuple(options)
        self.group = f"/{host.name}"
        self.log = host.directory / "dockerd.log"
        self.socket = host.directory / "docker.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._containerd: subprocess.Popen[bytes] | None = None

    def start(self, wait: bool = True) -> "Engine":
        """Start it, and wait until it answers; the first time, give it the image."""
        base = self.host.directory
        if self._containerd is None:
            self._start_containerd()
        words = ["dockerd", "--containerd", _CONTAINERD, "--data-root", f"{base}/data", "--exec-root", "/run/docker"]
        words += ["--pidfile", f"{base}/pid", "--config-file", f"{base}/daemon.json", "--cgroup-parent", self.group]
        words += ["--host", "unix:///run/docker.sock", "--host", f"unix://{self.socket}", *self.options]
        (base / "daemon.json").touch()
        if not (base / "daemon.json").read_text():
            (base / "daemon.json").write_text("{}")
        self._process = self.host.start(words, self.log, {**os.environ, **environment()})
        if wait:
            self.wait()
        return self

    def _start_containerd(self) -> None:
        """Its own service, as Debian has it: a crash of dockerd leaves it running."""
        base = self.host.directory
        (base / "containerd.toml").write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        words = ["containerd", "--config", f"{base}/containerd.toml", "--root", f"{base}/containerd"]
        words += ["--state", "/run/containerd", "--address", _CONTAINERD]
        self._containerd = self.host.start(words, base / "containerd.log", {**os.environ, **environment()})
        wait_for(lambda: self.host.run("test", "-S", _CONTAINERD, check=False).returncode == 0, "containerd")

    def wait(self) -> None:
        """Return when it answers and has the image."""
        wait_for(lambda: self.cli("version", check=False).returncode == 0, f"{self.host.name}'s dockerd answers")
        if self.cli("image", "inspect", IMAGE, check=False).returncode:
            _import(self)

    def cli(self, *words: str, check: bool = True, timeout: float = _DEADLINE) -> "subprocess.CompletedProcess[str]":
        """Run `docker`."""
        done = subprocess.run(
            [str(root() / "usr/bin/docker"), "-H", f"unix://{self.socket}", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        if check and done.returncode:
            raise RuntimeError(f"docker {' '.join(words)}: {done.stdout}{done.stderr}\n{self.tail()}")
        return done

    def inspect(self, kind: str, name: str) -> Any:
        """What the engine knows of an object."""
        return json.loads(self.cli(kind, "inspect", name).stdout)[0]

    def stop(self) -> None:
        """Have it end as an administrator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a crash would; what containerd runs goes on."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ValueError, ProcessLookupError, FileNotFoundError):
                os.kill(int((self.host.directory / "pid").read_text()), number)
            self._process.wait(_DEADLINE)
            self._process = None

    def tail(self) -> str:
        """The last lines of its log that tell something, for a failing test."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([line for line in lines if "level=info" not in line][-12:])

    def remove(self) -> None:
        """End it, its containerd and its containers, and remove its groups."""
        if self._process is not None:
            self.stop()
        if self._containerd is not None:
            self._containerd.kill()
            self._containerd.wait(_DEADLINE)
        for pid in _pids_of(self.host):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not _pids_of(self.host), f"{self.host.name}'s processes end")
        for hierarchy in Path("/sys/fs/cgroup").glob(f"*{self.group}"):
            _remove_group(hierarchy)
        _remove_group(Path(f"/sys/fs/cgroup{self.group}"))


def _pids_of(host: Host) -> list[int]:
    """The processes that have the host's directory on their command line, or are in its groups."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes()
                groups = (entry / "cgroup").read_text()
                if str(host.directory).encode() in words or f"{host.name}" in groups:
                    found.append(int(entry.name))
    return found


def _remove_group(path: Path) -> None:
    if path.is_dir():
        for directory, _, _ in os.walk(path, topdown=False):
            with suppress(OSError):
                os.rmdir(directory)


def _import(engine: Engine) -> None:
    """Make the image out of the static busybox."""
    tree = engine.host.directory / "image"
    for name in ("bin", "etc", "proc", "sys", "tmp", "dev"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(root() / "bin/busybox", tree / "bin/busybox")
    for name in ("sh", "ip", "ping", "ping6", "sleep", "nc", "wget", "cat", "httpd", "true", "ifconfig"):
        with suppress(FileExistsError):
            (tree / "bin" / name).symlink_to("busybox")
    archive = engine.host.directory / "image.tar"
    _run("tar", "-C", str(tree), "-cf", str(archive), ".")
    engine.cli("import", str(archive), IMAGE)


def sweep() -> None:
    """Remove what runs that were killed left: hosts whose process is gone."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout
    for name in (line.split()[0] for line in listed.splitlines() if line.startswith("dlt-")):
        if not Path(f"/proc/{name.split('-')[1]}").exists():
            _sweep(name)


def _sweep(name: str) -> None:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if f"/{name}" in (entry / "cgroup").read_text() or f"/tmp/{name}-".encode() in (
                    (entry / "cmdline").read_bytes()
                ):
                    os.kill(int(entry.name), signal.SIGKILL)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    for hierarchy in [*Path("/sys/fs/cgroup").glob(f"*/{name}"), Path(f"/sys/fs/cgroup/{name}")]:
        _remove_group(hierarchy)
    for directory in Path("/tmp").glob(f"{name}-*"):
        shutil.rmtree(directory, ignore_errors=True)


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_DEADLINE)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
