"""The machine an operator upgrades a cluster from: the script, and an `ssh` that leads to the nodes of a lab."""

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

from lab.cleanup import processes_in
from lab.instance import Instance
from lab.machine import Machine, Running
from tests.e2e.bundles import URL, command
from tests.samples import commands_of

_SECONDS = 400.0
_SSH = """#!/bin/bash
# As ssh: its words, joined by spaces, are for a shell on the node, and what runs there is not ended with it.
case $1 in
{cases}
    *) echo "ssh: connect to host $1 port 22: No route to host" >&2; exit 255 ;;
esac
shift
exec "${{node[@]}}" "$*"
"""


class Workstation:
    """`nodes` in the order in which they are named to the script."""

    def __init__(self, directory: Path, instance: Instance, nodes: Iterable[Machine]) -> None:
        self.script = directory / "dcos_node_upgrade.sh"
        self._directory = directory
        self._instance = instance
        self._nodes = tuple(nodes)

    def write_script(self, old: Path, new: Path, url: str = URL) -> None:
        """From the bundle of one directory to that of another, which is served at `url`."""
        command("release", "upgrade-script", old, new, "--url", url, "--output", self.script)

    def upgrade(self, *options: str) -> "subprocess.CompletedProcess[str]":
        """Run it for all nodes, by the words of the guide."""
        words = self._words(options)
        return subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False)

    def start(self) -> Running:
        """The same, without waiting for its end. Killed, it goes with what it runs on a node."""
        log = self._directory / "log"
        log.unlink(missing_ok=True)
        process = self._instance.spawn("operator", self._words(()), log=log)
        return Running(process, tuple(self._instance.cgroups("operator")), log)

    def _words(self, options: Iterable[str]) -> list[str]:
        self._write_ssh()
        instead = {"dcos_node_upgrade.sh": self.script, " 192.0.2.11 192.0.2.21": ""}
        rehearsal, upgrade = commands_of("docs/how-to/upgrade.md", "bash dcos_node_upgrade.sh", instead)
        line = shlex.split(rehearsal if "--dry-run" in options else upgrade)
        added = [option for option in options if option != "--dry-run"]
        path = f"PATH={self._directory}:/usr/bin:/bin"
        return ["env", path, *line, *added, *(machine.address for machine in self._nodes)]

    def _write_ssh(self) -> None:
        """Lead to the nodes that are on now."""
        on = [machine for machine in self._nodes if machine.is_running]
        cases = [f"    root@{each.address}) node=({shlex.join(each.entry(['/bin/bash', '-c']))}) ;;" for each in on]
        (self._directory / "ssh").write_text(_SSH.format(cases="\n".join(cases)))
        (self._directory / "ssh").chmod(0o755)


def cut_off(running: Running) -> None:
    """Kill what runs on the operator's machine: what it started on a node goes on, as far as it gets unread."""
    here = os.readlink("/proc/self/ns/pid")
    for pid in {pid for group in running.groups for pid in processes_in(group)}:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if os.readlink(f"/proc/{pid}/ns/pid") == here:
                os.kill(pid, signal.SIGKILL)
    running.wait(10)
