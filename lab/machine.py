"""A node: real systemd as PID 1 in a container of its own, with its own network, on a layer over a shared root.

`stop` and `kill` end the container and its network namespace, so that a boot starts from what is on the disk alone, as
on a real machine: interfaces, routes and tables do not survive.
"""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lab.cleanup import processes_in, remove_cgroup
from lab.instance import Instance, LabError, Process, bound, host
from lab.network import Network

_BOOT_SECONDS = 30.0
_STOP_SECONDS = 30.0
_ENVIRONMENT = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8")
# RTMIN+4 asks systemd for a clean power-off.
_POWER_OFF = "SIGRTMIN+4"


class Result(NamedTuple):
    """How a command on a node ended."""

    status: int
    stdout: str
    stderr: str


class Running(NamedTuple):
    """A command that was started on a node; what it prints is in `log`."""

    process: "subprocess.Popen[bytes]"
    groups: tuple[Path, ...]
    log: Path

    def kill(self) -> None:
        """Kill it and all that it started, at once; services that systemd started for it live on."""
        _kill_groups(self.groups, self.process)

    def wait(self, timeout: float) -> int:
        """Its exit status, once it has ended by itself."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError(f"not done after {timeout:.0f} s: {self.log.read_text(errors='replace')}") from None


class Power(NamedTuple):
    """The two processes of a node that is on: systemd-nspawn, and the systemd in it."""

    supervisor: Process
    init: Process


class Bind(NamedTuple):
    """What a node sees at `path`: the directory `source` of this machine, read only, or a place on its own disk."""

    path: str
    source: str = ""

    def option(self, home: Path) -> str:
        """The word for systemd-nspawn; `home` is where a node's own places are, on a plain file system."""
        if self.source:
            return f"--bind-ro={self.source}:{self.path}"
        place = home / "places" / self.path.strip("/").replace("/", "-")
        place.mkdir(parents=True, exist_ok=True)
        return f"--bind={place}:{self.path}"


class Machine:
    """One node of a lab: made of `image`, or (None) found again by a later process, running or not, as `power` says."""

    def __init__(
        self,
        instance: Instance,
        network: Network,
        image: Path | None,
        name: str,
        address: str,
        binds: Sequence[Bind] = (),
    ) -> None:
        self.instance = instance
        self.network = network
        self.name = name
        self.address = address
        self.binds = tuple(binds)
        self.home = _disk(instance) / name
        self.root = self.home / "root"
        self._child: subprocess.Popen[bytes] | None = None
        if image is not None:
            self._mount(image)
        elif not os.path.ismount(self.root):
            raise LabError(f"{name}: its disk is gone; `lab down` removes what there is of the lab")

    def _mount(self, image: Path) -> None:
        _ensure_disk(self.instance)
        for directory in ("up", "wk", "root"):
            (self.home / directory).mkdir(parents=True, exist_ok=True)
        layers = f"lowerdir={image},upperdir={self.home / 'up'},workdir={self.home / 'wk'}"
        self.instance.record("mount", str(self.root))
        host("mount", "-t", "overlay", "overlay", "-o", layers, str(self.root))
        # Without an id of its own systemd takes this for a first boot and enables every unit there is.
        (self.root / "etc/machine-id").write_text(uuid.uuid4().hex + "\n")
        (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{self.address} {self.name}\n")

    # ------------------------------------------------------------------------------------------ power

    @property
    def _power(self) -> Power | None:
        """What runs now: the container's supervisor and the systemd in it."""
        with contextlib.suppress(OSError, ValueError):
            supervisor, init = json.loads((self.home / "power").read_text())
            return Power(Process(*supervisor), Process(*init))
        return None

    @property
    def is_running(self) -> bool:
        """Whether the container is up."""
        power = self._power
        return power is not None and power.supervisor.is_alive() and power.init.is_alive()

    @property
    def _init(self) -> int:
        power = self._power
        return power.init.pid if power is not None and power.init.is_alive() else 0

    def boot(self, timeout: float = _BOOT_SECONDS) -> None:
        """Switch on, and return when systemd has started everything it wants to start."""
        if self.is_running:
            raise LabError(f"{self.name}: is running already")
        self._off()
        self.network.add(self.name, self.address)
        self._record_leftovers()
        deadline = time.monotonic() + timeout
        self._child = self.instance.spawn(self.name, self._nspawn(), env=_SWITCHES, log=self.home / "console")
        supervisor = Process.of(self._child.pid)
        init = self._wait_for_init(supervisor, deadline)
        (self.home / "power").write_text(json.dumps(Power(supervisor, init)))
        self._wait_for_systemd(deadline)

    def _record_leftovers(self) -> None:
        """What systemd-nspawn leaves on this machine: a directory of the node's name, and a lock when killed."""
        of_root = self.root.stat()
        run = Path("/run/systemd/nspawn")
        self.instance.record("path", str(run / "propagate" / self.network.namespace(self.name)))
        self.instance.record("path", str(run / "locks" / f"inode-{of_root.st_dev}:{of_root.st_ino}"))

    def _nspawn(self) -> list[str]:
        namespace = self.network.namespace(self.name)
        return [
            *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot"),
            *(f"--directory={self.root}", f"--machine={namespace}", f"--hostname={self.name}"),
            *(f"--network-namespace-path=/run/netns/{namespace}", "--capability=all", "--console=pipe"),
            *(f"--kill-signal={_POWER_OFF}", "--link-journal=no", "--resolv-conf=off", "--timezone=off"),
            *(bind.option(self.home) for bind in self.binds),
        ]

    def _wait_for_init(self, supervisor: Process, deadline: float) -> Process:
        children = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children")
        while time.monotonic() < deadline and supervisor.is_alive():
            with contextlib.suppress(OSError, ValueError, LabError):
                for pid in map(int, children.read_text().split()):
                    if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                        return Process.of(pid)
            time.sleep(0.02)
        raise LabError(f"{self.name}: did not start\n{self.console()}")

    def _wait_for_systemd(self, deadline: float) -> None:
        """Wait until no job is left. Units that failed are for the caller to judge, not for a boot to hide."""
        state = ""
        while time.monotonic() < deadline and self.is_running:
            left = max(1.0, deadline - time.monotonic())
            with contextlib.suppress(LabError):
                state = self.run("systemctl is-system-running --wait", timeout=left, check=False).stdout.strip()
            if state in {"running", "degraded"}:
                return
            time.sleep(0.05)
        raise LabError(f"{self.name}: not up in time ({state or 'no answer'})\n{self.report()}")

    def stop(self, timeout: float = _STOP_SECONDS) -> None:
        """Switch off as an operator would: systemd stops every unit."""
        power = self._power
        if power is not None and self.is_running:
            os.kill(power.supervisor.pid, signal.SIGTERM)
            if not power.supervisor.wait(timeout):
                raise LabError(f"{self.name}: not off after {timeout:.0f} s\n{self.console()}")
        self._off()

    def kill(self) -> None:
        """Cut the power: every process of the node dies at once."""
        _kill_groups(self.instance.cgroups(self.name), self._child)
        self._off()

    def _off(self) -> None:
        """Make good of a node that is off, however it went off: its place in the network, its control groups."""
        if self._child is not None:
            self._child.wait(_STOP_SECONDS)
        self._child = None
        (self.home / "power").unlink(missing_ok=True)
        self.network.remove(self.name)
        for group in self.instance.cgroups(self.name):
            remove_cgroup(group)

    def reboot(self) -> None:
        """Switch off cleanly and on again; one that is off is switched on."""
        self.stop()
        self.boot()

    # ------------------------------------------------------------------------------------------ inside

    def entry(self, command: str | Sequence[str]) -> list[str]:
        """The words that run a shell command, or a program with its arguments, on the node, from this machine."""
        if not self._init:
            raise LabError(f"{self.name}: is switched off")
        words = ["/bin/bash", "-c", command] if isinstance(command, str) else list(command)
        return ["nsenter", f"--target={self._init}", "--all", "env", "-i", "--chdir=/", *_ENVIRONMENT, *words]

    def run(self, command: str | Sequence[str], timeout: float = 60, check: bool = True, given: str = "") -> Result:
        """Run a shell command, or a program with its arguments; LabError when it fails or takes too long.

        `given` is what it reads on its standard input."""
        try:
            done = subprocess.run(
                bound(self.entry(command)),
                input=given,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name}: {_shown(command)}: not done after {timeout:.0f} s\n{self.report()}") from None
        result = Result(done.returncode, done.stdout, done.stderr)
        if check and result.status:
            output = f"{result.stdout}{result.stderr}".strip()
            raise LabError(f"{self.name}: {_shown(command)}: exit {result.status}\n{output}\n{self.report()}")
        return result

    def start(self, command: str | Sequence[str]) -> "Running":
        """Start a command and return at once; it can be killed with everything it started."""
        name, log = f"{self.name}-run", self.home / "run"
        process = self.instance.spawn(name, self.entry(command), log=log)
        return Running(process, tuple(self.instance.cgroups(name)), log)

    def wait_until(self, command: str, timeout: float = 30, what: str = "") -> Result:
        """Repeat a shell command until it exits 0; LabError with the node's state when it does not in time."""
        deadline = time.monotonic() + timeout
        while (result := self.run(command, check=False)).status:
            if time.monotonic() > deadline:
                output = f"{result.stdout}{result.stderr}".strip()
                raise LabError(
                    f"{self.name}: not {what or _shown(command)} after {timeout:.0f} s\n{output}\n{self.report()}"
                )
            time.sleep(0.1)
        return result

    def write_file(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Put a file on the node, with the directories it needs."""
        data = content.encode() if isinstance(content, str) else content
        home, file = shlex.quote(str(Path(path).parent)), shlex.quote(path)
        command = f"mkdir -p {home} && cat >{file} && chmod {mode:o} {file}"
        subprocess.run(self.entry(command), input=data, capture_output=True, timeout=30, check=True)

    def read_file(self, path: str) -> str:
        """The text of a file on the node."""
        return self.run(["cat", path]).stdout

    def unit(self, name: str, *properties: str) -> dict[str, str]:
        """Properties of a unit as systemd tells them; ActiveState and InvocationID when none is named."""
        wanted = properties or ("ActiveState", "InvocationID")
        shown = self.run(["systemctl", "show", f"--property={','.join(wanted)}", "--", name]).stdout
        return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)

    def journal(self, unit: str = "", lines: int = 50) -> str:
        """The last lines of the journal, or of one unit's."""
        of_unit = ["-u", unit] if unit else []
        shown = ["journalctl", "--no-pager", "--quiet", "--output=short-monotonic", "-n", str(lines), *of_unit]
        return self.run(shown, timeout=15, check=False).stdout

    # ------------------------------------------------------------------------------------------ from outside

    def inspect(self, *command: str) -> str:
        """Run one of this machine's programs (ip, nft, sysctl: the node has none) in the node's network namespace."""
        mounts = f"--net=/run/netns/{self.network.namespace(self.name)}"
        return host("nsenter", mounts, "--", *command)

    def console(self) -> str:
        """The last lines of what the container printed."""
        with contextlib.suppress(FileNotFoundError):
            return "\n".join((self.home / "console").read_text(errors="replace").splitlines()[-20:])
        return ""

    def report(self) -> str:
        """What someone who looks into a failure wants to see first."""
        if not self._init:
            return self.console()
        parts: list[str] = []
        for command in _REPORT:
            with contextlib.suppress(subprocess.TimeoutExpired, OSError):
                done = subprocess.run(self.entry(command), capture_output=True, text=True, timeout=10, check=False)
                parts.append(f"--- {self.name}: {command}\n{(done.stdout + done.stderr).strip()}")
        return "\n".join(parts)


def _kill_groups(groups: Iterable[Path], child: "subprocess.Popen[bytes] | None") -> None:
    """Kill every process of control groups; `child` is ours to collect."""
    deadline = time.monotonic() + _STOP_SECONDS
    while pids := [pid for group in groups for pid in processes_in(group)]:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if child is not None:
            child.poll()
        if time.monotonic() > deadline:
            raise LabError(f"processes {sorted(pids)} do not end")
        time.sleep(0.01)
    if child is not None:
        child.wait(_STOP_SECONDS)


_SWITCHES = {
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
    "SYSTEMD_SECCOMP": "0",
}
_REPORT = (
    "systemctl list-units --no-pager --no-legend --plain --all 'dcos*'",
    "systemctl list-units --no-pager --no-legend --plain --failed",
    "systemctl list-jobs --no-pager --no-legend",
    "journalctl --no-pager --quiet --output=short-monotonic -n 40 -u 'dcos*'",
    "journalctl --no-pager --quiet --output=short-monotonic -n 10",
)


def _disk(instance: Instance) -> Path:
    """Where the nodes' own layers are."""
    return instance.directory / "disk"


def _ensure_disk(instance: Instance) -> None:
    """A memory file system for the nodes' layers: what they sync costs nothing, and one unmount frees it."""
    disk = _disk(instance)
    if not disk.is_dir():
        disk.mkdir()
        instance.record("mount", str(disk))
        host("mount", "-t", "tmpfs", "-o", "mode=0755,size=8g", "tmpfs", str(disk))


def _shown(command: str | Iterable[str]) -> str:
    return command if isinstance(command, str) else shlex.join(command)
