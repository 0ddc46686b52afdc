"""`calico-guard` and the package's removal program, by their launchers, laid out as a package is on a node."""

import subprocess
import sys
from pathlib import Path

import pytest

from calico.felix.dataplane.nft.tables import Tables
from tests.integration.nft.test_semantics import SETTINGS, state
from tests.integration.nft.topology import Topology
from tests.unit.felix_nft.states import EMPTY, between

_EXTRA = Path(__file__).parents[3] / "packages/calico/extra"
# A /run and a /var/lib of its own, so that the machine's are out of reach.
_PRIVATE = "mount -t tmpfs none /run && mount -t tmpfs none /var/lib && mkdir -p /run/calico /var/lib/calico && "


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    packages = tmp_path_factory.mktemp("packages")
    calico, python = packages / "calico--1", packages / "python--1"
    for directory in (calico / "bin", calico / "remove", calico / "usr/lib/python", python / "bin"):
        directory.mkdir(parents=True)
    for launcher in (*(_EXTRA / "bin").iterdir(), *(_EXTRA / "remove").iterdir()):
        target = calico / launcher.relative_to(_EXTRA)
        target.write_text(launcher.read_text().replace("@PYTHON@", python.name))
        target.chmod(0o755)
    (calico / "usr/lib/python/calico").symlink_to(_EXTRA / "calico")
    (calico / "usr/lib/python/run.py").write_text((_EXTRA / "run.py").read_text())
    (python / "bin/python3").symlink_to(sys.executable)
    return calico


def run(network: Topology, command: str) -> subprocess.CompletedProcess[str]:
    """In the host's network namespace, and in a mount namespace of its own."""
    return subprocess.run(
        ["ip", "netns", "exec", network.host.name, "unshare", "-m", "sh", "-c", command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_guard_says_what_it_did(network: Topology, package: Path) -> None:
    done = run(network, f"{package}/bin/calico-guard")
    assert (done.returncode, done.stderr.strip()) == (
        0,
        "calico-guard: unknown workload interfaces are dropped until felix runs",
    )
    assert not network.udp("one", "two", 4000)
    done = run(network, f"{package}/bin/calico-guard")
    assert (done.returncode, done.stderr.strip()) == (0, "calico-guard: a table of ours is already there")


def test_the_guard_takes_felix_prefixes(network: Topology, package: Path) -> None:
    assert run(network, f"FELIX_INTERFACEPREFIX=tap,cali2 {package}/bin/calico-guard").returncode == 0
    assert network.udp("one", "far", 4000)
    assert not network.udp("two", "far", 4000)


def test_the_guard_that_may_not_says_so(network: Topology, package: Path) -> None:
    done = run(network, f"setpriv --bounding-set=-net_admin --inh-caps=-net_admin {package}/bin/calico-guard")
    assert done.returncode == 3
    assert "cannot drop unknown workloads' traffic" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_removal_program_leaves_nothing(network: Topology, package: Path) -> None:
    before = network.nft("list", "ruleset")
    Tables(network.netlink, SETTINGS).apply(between(EMPTY, state()))
    done = run(
        network, f"{_PRIVATE} {package}/remove/felix; status=$?; ls -d /run/calico /var/lib/calico; exit $status"
    )
    assert done.returncode == 0, done.stderr
    assert "removed table ip calico\n" in done.stdout
    assert "/run/calico" not in done.stdout
    assert "/var/lib/calico" not in done.stdout
    assert network.nft("list", "ruleset") == before


def test_the_removal_program_leaves_what_others_gave_mesos(network: Topology, package: Path) -> None:
    net_d = "/var/lib/calico/cni/net.d"
    prepare = f"""
        mkdir -p {net_d} && touch /var/lib/calico/nodename /var/lib/calico/cni/staged
        ln -s /opt/mesosphere/etc/dcos/network/cni/calico.conf {net_d}/calico.conf
        echo '{{"name": "blue", "dcos-calico": ""}}' >{net_d}/blue.conf
        echo '{{"name": "mine"}}' >{net_d}/mine.conf
    """
    done = run(network, f"{_PRIVATE} {prepare} {package}/remove/felix; status=$?; find /var/lib/calico; exit $status")
    assert done.returncode == 0, done.stderr
    found = [line for line in done.stdout.splitlines() if line.startswith("/var/lib/calico")]
    assert found == ["/var/lib/calico", "/var/lib/calico/cni", net_d, f"{net_d}/mine.conf"]
