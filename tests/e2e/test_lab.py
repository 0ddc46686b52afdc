"""The nodes the other tests rely on: they boot, lose what a machine loses, and leave nothing behind."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.cleanup import sweep
from lab.instance import LabError
from lab.machine import Machine
from lab.network import Network
from tests.e2e.conftest import Lab
from tests.e2e.traces import traces

pytestmark = [pytest.mark.root, pytest.mark.netns]


@pytest.fixture(scope="module")
def pair(lab: Lab) -> tuple[Machine, Machine]:
    one, two = lab.add("one", "10.99.0.1"), lab.add("two", "10.99.0.2")
    one.boot()
    two.boot()
    return one, two


def hears(machine: Machine, address: str) -> bool:
    return machine.run(f"curl -s -m 2 -o /dev/null http://{address}:80/", check=False).status == 7


def test_systemd_is_up_and_nothing_failed(pair: tuple[Machine, Machine]) -> None:
    for machine in pair:
        assert machine.run("systemctl is-system-running").stdout == "running\n"
        assert machine.run("systemctl list-units --failed --no-legend").stdout == ""


def test_a_reboot_keeps_the_disk_and_loses_the_kernels_state(pair: tuple[Machine, Machine]) -> None:
    machine = pair[0]
    machine.write_file("/var/lib/kept", "kept")
    machine.inspect("ip", "link", "add", "vx0", "type", "vxlan", "id", "7", "dstport", "4444")
    machine_id = machine.read_file("/etc/machine-id")
    machine.reboot()
    assert machine.read_file("/var/lib/kept") == "kept"
    assert "vx0" not in machine.inspect("ip", "-br", "link")
    assert machine.read_file("/etc/machine-id") == machine_id


def test_a_power_cut_keeps_the_disk(pair: tuple[Machine, Machine]) -> None:
    machine = pair[0]
    machine.write_file("/var/lib/kept", "again")
    machine.kill()
    assert not machine.is_running
    machine.boot()
    assert machine.read_file("/var/lib/kept") == "again"


def test_a_cut_node_is_alone_until_it_is_healed(lab: Lab, pair: tuple[Machine, Machine]) -> None:
    one, two = pair
    assert hears(one, two.address)
    lab.network.cut(two.name)
    assert not hears(one, two.address)
    lab.network.heal(two.name)
    deadline = time.monotonic() + 10
    while not hears(one, two.address) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert hears(one, two.address)


def test_a_command_that_fails_or_hangs_says_what_the_node_looks_like(pair: tuple[Machine, Machine]) -> None:
    with pytest.raises(LabError, match=r"(?s)exit 3.*journalctl"):
        pair[0].run("exit 3")
    with pytest.raises(LabError, match="sleep 60: not done after 1 s"):
        pair[0].run("sleep 60", timeout=1)


_KILLED = """
import os, signal, sys
from pathlib import Path
from lab.instance import Instance
from lab.machine import Machine
from lab.network import Network
from lab.network import Network
instance = Instance.create()
machine = Machine(instance, Network(instance), Path(sys.argv[1]), "n", "10.99.0.1")
machine.boot()
print(instance.name, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_lab_that_was_killed_leaves_nothing_after_the_next_run(node_root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(node_root)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    name = done.stdout.strip()
    assert len(traces(name)) > 5
    assert name in sweep()
    assert traces(name) == []


def test_a_lossy_and_a_slow_cable_are_healed(lab: Lab, pair: tuple[Machine, Machine]) -> None:
    one, two = pair
    lab.network.lose(two.name, 100)
    assert not hears(one, two.address)
    lab.network.lose(two.name, 0)
    assert hears(one, two.address)
    lab.network.slow(two.name, 64)
    assert "rate 64Kbit" in two.inspect("tc", "qdisc", "show", "dev", "eth0")
    assert hears(one, two.address)
    lab.network.heal(two.name)
    assert "tbf" not in two.inspect("tc", "qdisc", "show", "dev", "eth0")
    assert hears(one, two.address)


def test_a_later_process_finds_a_node_that_runs(lab: Lab, pair: tuple[Machine, Machine]) -> None:
    one = pair[0]
    found = Machine(lab.instance, Network(lab.instance, is_there=True), None, one.name, one.address)
    assert found.is_running
    assert found.run("hostname").stdout == "one\n"
    found.kill()
    assert not one.is_running
    one.boot()
    assert found.run("hostname").stdout == "one\n"
