"""The installer is killed on a real node, at ten instants chosen by a seed: the old set or the new one comes back.

Some kills wait for the activation to begin and fall into it, the others fall anywhere. After half of them the power is
cut as well and the node has to find its way at the boot; after the others `pkgpanda setup` is run.
"""

import os
import random
import time
from collections.abc import Iterator

import pytest

from lab.machine import Machine
from tests.e2e import node
from tests.e2e.bundles import AGENT, PUBLIC_AGENT, Bundle, Server
from tests.e2e.conftest import Lab, Versions

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.timeout(300)]

SEED = int(os.environ.get("DCOS_CALICO_SEED", "20261123"))
INSTALLS, UPGRADES = (4, 6) if not os.environ.get("DCOS_CALICO_SOAK") else (40, 160)
ROLE = "slave"
_ACTIVATION_SECONDS = 0.3
"""How long an activation takes, without the waiting for services."""

_interrupted: list[bool] = []
"""For each kill, whether it fell into an activation."""


@pytest.fixture
def random_numbers(request: pytest.FixtureRequest) -> random.Random:
    """A generator of its own for each test, so that one can be run alone and see the same instants."""
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture(scope="module")
def server(lab: Lab, versions: Versions) -> Server:
    server = Server(lab.instance, lab.network)
    server.serve(versions.first)
    return server


@pytest.fixture(scope="module")
def usual_seconds(lab: Lab, server: Server, versions: Versions) -> float:
    """How long an installation takes on this machine."""
    machine = new_node(lab, versions, "usual")
    start = time.monotonic()
    node.install(machine, ROLE, "--pki", "/root/pki")
    seconds = time.monotonic() - start
    machine.kill()
    return seconds


def new_node(lab: Lab, versions: Versions, name: str, address: str = AGENT) -> Machine:
    machine = lab.add(name, address)
    machine.boot()
    node.place_keys(machine, versions.pki)
    return machine


def kill_within(machine: Machine, command: str, seconds: float, numbers: random.Random, in_activation: bool) -> str:
    """Start the installer and kill it; when, in words."""
    running = machine.start(command)
    start = time.monotonic()
    if in_activation:
        node.wait_for(node.journal(machine), running)
    # What comes before an activation's switch is the shorter part of it: early instants are the more likely ones.
    time.sleep(_ACTIVATION_SECONDS * numbers.random() ** 2 if in_activation else numbers.uniform(0, seconds))
    running.kill()
    _interrupted.append(node.journal(machine).exists())
    return f"killed {time.monotonic() - start:.3f} s after its start (seed {SEED})"


def recover(machine: Machine, by_power_cut: bool) -> None:
    """What the node does by itself at a boot, or what an operator runs."""
    if by_power_cut:
        machine.kill()
        machine.boot()
    else:
        machine.run(f"test ! -x {node.PKGPANDA} || {node.PKGPANDA} setup", timeout=node.SECONDS)


def live_set(machine: Machine) -> list[str]:
    """The live set, whole and unharmed; empty where nothing was ever made live."""
    if machine.run(f"test -x {node.PKGPANDA}", check=False).status:
        return []
    machine.run([node.PKGPANDA, "verify"])
    ids = node.active(machine)
    links = machine.run(
        "cd /opt/mesosphere/active && for name in *; do basename $(readlink -f $name); done"
    ).stdout.split()
    assert sorted(links) == ids
    return ids


def assert_works(machine: Machine, bundle: Bundle) -> None:
    node.wait_until_healthy(machine)
    assert node.active(machine) == bundle.ids_for(ROLE)
    assert machine.run("systemctl list-units --failed --no-legend").stdout == ""


@pytest.mark.parametrize("number", range(INSTALLS))
def test_a_killed_installation_leaves_nothing_or_all_and_can_be_run_again(
    lab: Lab, versions: Versions, usual_seconds: float, random_numbers: random.Random, number: int
) -> None:
    machine = new_node(lab, versions, f"new{number}")
    try:
        command = node.install_command(ROLE, "--pki", "/root/pki")
        when = kill_within(machine, command, usual_seconds, random_numbers, in_activation=number % 2 == 1)
        recover(machine, by_power_cut=number >= INSTALLS // 2)
        assert live_set(machine) in ([], versions.first.ids_for(ROLE)), when
        node.install(machine, ROLE, "--pki", "/root/pki")
        assert_works(machine, versions.first)
    finally:
        machine.kill()


@pytest.fixture(scope="module")
def upgraded(lab: Lab, server: Server, versions: Versions) -> Iterator[Machine]:
    """One node that lives through all killed upgrades."""
    machine = new_node(lab, versions, "upgraded", PUBLIC_AGENT)
    node.install(machine, ROLE, "--pki", "/root/pki")
    node.wait_until_healthy(machine)
    yield machine
    machine.kill()


@pytest.fixture(scope="module")
def usual_upgrade_seconds(upgraded: Machine, server: Server, versions: Versions) -> float:
    """How long an upgrade takes on this machine."""
    server.serve(versions.second)
    start = time.monotonic()
    node.install(upgraded, ROLE, "--upgrade")
    return time.monotonic() - start


@pytest.mark.parametrize("number", range(UPGRADES))
def test_a_killed_upgrade_leaves_the_old_set_or_the_new_and_both_work(
    upgraded: Machine,
    server: Server,
    versions: Versions,
    usual_upgrade_seconds: float,
    random_numbers: random.Random,
    number: int,
) -> None:
    old, new = (versions.first, versions.second)[:: 1 if number % 2 else -1]
    server.serve(new)
    assert node.active(upgraded) == old.ids_for(ROLE)
    command = node.install_command(ROLE, "--upgrade")
    when = kill_within(upgraded, command, usual_upgrade_seconds, random_numbers, in_activation=number % 3 > 0)
    recover(upgraded, by_power_cut=number % 2 == 1)
    now = live_set(upgraded)
    assert now in (old.ids_for(ROLE), new.ids_for(ROLE)), when
    assert_works(upgraded, old if now == old.ids_for(ROLE) else new)
    node.install(upgraded, ROLE, "--upgrade")
    assert_works(upgraded, new)


def test_enough_of_the_kills_fell_into_an_activation() -> None:
    """Else the tests above say less than they seem to."""
    assert len(_interrupted) < INSTALLS + UPGRADES or sum(_interrupted) >= (INSTALLS + UPGRADES) // 4
