"""What an operator does on a node, and what they look at."""

import json
import shutil
import time
from pathlib import Path

from lab.machine import Machine, Result, Running
from tests.e2e.bundles import URL
from tests.samples import commands_of

PKGPANDA = "/opt/mesosphere/bin/pkgpanda"
SECONDS = 120.0


def place_keys(machine: Machine, pki: Path) -> None:
    """Copy a node's own certificates to it, as the guide says: to /root/pki."""
    shutil.copytree(pki / "nodes" / machine.address, machine.root / "root/pki", dirs_exist_ok=True)


def install_command(role: str, *options: str) -> str:
    """Fetch the installer as the guide says, and run it."""
    return fetched(" ".join(["bash", "dcos_install.sh", *options, role]))


def fetched(command: str) -> str:
    """A command that runs the installer, behind the guide's that fetches it."""
    (fetch,) = commands_of("docs/how-to/build-a-bundle.md", "curl", {"http://bootstrap.example": URL})
    return f"cd /root && {fetch} && {command}"


def install(machine: Machine, role: str, *options: str) -> Result:
    """Fetch the installer and run it."""
    return machine.run(install_command(role, *options), timeout=SECONDS)


def active(machine: Machine) -> list[str]:
    """The ids of the live set."""
    ids = json.loads(machine.run([PKGPANDA, "active", "--format", "json"]).stdout)
    return sorted(ids)


def wait_until_healthy(machine: Machine, timeout: float = 30) -> None:
    """Wait until systemd has nothing to do and no failure, and every package's own check passes."""
    machine.wait_until("systemctl is-system-running && systemctl is-active dcos.target", timeout, "running")
    machine.wait_until(f"{PKGPANDA} check", timeout, "healthy by its packages' checks")


def invocations(machine: Machine) -> dict[str, str]:
    """Our running services -> the invocation systemd counts for each."""
    listed = machine.run("systemctl list-units --plain --no-legend --state=active 'dcos-*.service'").stdout
    units = [line.split()[0] for line in listed.splitlines()]
    return {unit: machine.unit(unit)["InvocationID"] for unit in units}


def journal(machine: Machine) -> Path:
    """What says, on the node's disk, that an activation is under way."""
    return machine.root / "opt/mesosphere/journal.json"


def wait_for(path: Path, running: Running) -> None:
    """Wait until `path` is there, or the command has ended without it."""
    deadline = time.monotonic() + SECONDS
    while not path.exists() and running.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
