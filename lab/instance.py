"""One lab on this machine: its id, its directory, and the record of everything it made.

Every name a lab gives to something outside its own directory starts with `dcl-<id>`, and every object is recorded
before it is made. So `lab.cleanup` can remove what a lab left that was killed, and cannot touch anything else.

A lab belongs to a process and is swept away once that has ended, or it lasts: until `lab down`.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

HOME = Path("/run/dcos-calico-lab")
"""Where labs keep their directories: gone after the machine restarts, as what they record is."""

_NAME = re.compile(r"[a-z0-9]{1,12}")
_CGROUPS = Path("/sys/fs/cgroup")


class LabError(Exception):
    """Something a lab needs does not work: what, and what was seen."""


class Refusal(LabError):
    """What was asked for is wrong, or cannot be with the lab as it is."""


class Process(NamedTuple):
    """A process that cannot be mistaken for a later one with the same pid: `start` is in clock ticks after boot."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> "Process":
        """The process that has `pid` now; LabError when there is none."""
        start = _start_time(pid)
        if start is None:
            raise LabError(f"process {pid} has ended")
        return cls(pid, start)

    def is_alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        return _start_time(self.pid) == self.start

    def wait(self, timeout: float) -> bool:
        """Whether it ended in time; it need not be a child of ours."""
        deadline = time.monotonic() + timeout
        while self.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


def _start_time(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


class Entry(NamedTuple):
    """One recorded object; `kind` is netns, mount, cgroup, path or process (or `lasts`, of a lab that nobody owns)."""

    kind: str
    name: str
    start: int = 0


class Instance:
    """A lab's identity and its record; `create` makes a new one, `open` reads one that exists."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.name = directory.name

    @classmethod
    def create(cls, home: Path = HOME, name: str = "", owner: int = 0) -> "Instance":
        """A new lab: with a name it lasts, otherwise it is this process's; or it is that of the process `owner`."""
        if name and not _NAME.fullmatch(name):
            raise Refusal(f"{name}: a lab's name has up to 12 lower-case letters and digits")
        instance = cls(home / f"dcl-{name or secrets.token_hex(3)}")
        home.mkdir(parents=True, exist_ok=True)
        try:
            instance.directory.mkdir(mode=0o700)
        except FileExistsError:
            raise Refusal(f"there is a lab {instance.title!r} already: `lab down` removes it") from None
        if owner or not name:
            owner = owner or os.getpid()
            instance.record("process", str(owner), Process.of(owner).start)
        else:
            instance.record("lasts", name)
        return instance

    @property
    def title(self) -> str:
        """The name its user knows it by."""
        return self.name.removeprefix("dcl-")

    @property
    def lasts(self) -> bool:
        """Whether it stays until someone takes it down."""
        return any(entry.kind == "lasts" for entry in self.entries()[:1])

    def record_self(self) -> None:
        """This process works on the lab: whoever takes the lab down ends it first."""
        self.record("process", str(os.getpid()), Process.of(os.getpid()).start)

    def record(self, kind: str, name: str, start: int = 0) -> None:
        """Write down an object that is about to be made."""
        with (self.directory / "record").open("a") as file:
            file.write(json.dumps([kind, name, start]) + "\n")

    def entries(self) -> list[Entry]:
        """What was recorded, oldest first. A last line that a kill cut short named nothing that was made."""
        found = []
        for line in self._lines():
            try:
                found.append(Entry(*json.loads(line)))
            except (ValueError, TypeError):
                continue
        return found

    def _lines(self) -> Iterator[str]:
        try:
            yield from (self.directory / "record").read_text().splitlines()
        except FileNotFoundError:
            return

    def owner(self) -> Process | None:
        """The process that made this lab; None when it died before it wrote that down."""
        first = next(iter(self.entries()), None)
        return Process(int(first.name), first.start) if first and first.kind == "process" else None

    def cgroups(self, name: str) -> list[Path]:
        """The control groups for the processes of `name`, made and recorded: one in each hierarchy systemd may use."""
        groups = [parent / f"{self.name}-{name}" for parent in hierarchies()]
        for group in groups:
            if not group.is_dir():
                self.record("cgroup", str(group))
                group.mkdir()
        return groups

    def spawn(
        self,
        name: str,
        command: Sequence[str],
        *,
        netns: str = "",
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> "subprocess.Popen[bytes]":
        """Start `command` in control groups of its own, in the network namespace `netns` if one is given."""
        join = "; ".join(f"echo 0 >{group}/cgroup.procs" for group in self.cgroups(name))
        enter = ["nsenter", f"--net=/run/netns/{netns}", "--"] if netns else []
        with (log or Path(os.devnull)).open("ab") as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", f'{join}; exec "$@"', "sh", *enter, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        # One that has ended already leaves nothing to record.
        if start := _start_time(process.pid):
            self.record("process", str(process.pid), start)
        return process


def hierarchies() -> list[Path]:
    """Where control groups are: one directory for each hierarchy systemd may use."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    return [_CGROUPS / each for each in ("systemd", "unified") if (_CGROUPS / each).is_dir()]


def bound(command: Sequence[str]) -> list[str]:
    """`command`, which ends when the lab that started it is killed: nothing may go on making what nobody removes."""
    return ["setpriv", "--pdeathsig", "KILL", "--", *command]


def host(*command: str, timeout: float = 30, check: bool = True) -> str:
    """Run a program of this machine and return what it printed; LabError when it fails or takes too long."""
    if not shutil.which(command[0]):
        raise LabError(f"{command[0]}: this machine does not have it")
    try:
        done = subprocess.run(bound(command), capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(command)}: not done after {timeout:.0f} s") from None
    if check and done.returncode:
        raise LabError(f"{' '.join(command)}: exit {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
