"""The default ip-detect script, in network namespaces of its own, with bash and coreutils and nothing else."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from gen.parameters import DEFAULT_IP_DETECT

pytestmark = [pytest.mark.root, pytest.mark.netns]

_UP = "ip link set lo up; "


class Node(NamedTuple):
    """How a node's network is set up, and the address it should find (none: it should fail)."""

    setup: str
    address: str


def _link(name: str, *addresses: str) -> str:
    """A veth pair, both ends up, so that the kernel makes the routes of the addresses."""
    made = (
        f"ip link add name {name} type veth peer name {name}-peer; ip link set {name} up; ip link set {name}-peer up; "
    )
    return made + "".join(f"ip address add {address} dev {name}; " for address in addresses)


NODES = {
    "one interface": Node(_link("wan", "192.0.2.7/24") + "ip route add default via 192.0.2.1", "192.0.2.7"),
    "the default route decides": Node(
        _link("wan", "10.0.0.7/8") + _link("lan", "192.0.2.7/24") + "ip route add default via 192.0.2.1", "192.0.2.7"
    ),
    "the lowest metric decides": Node(
        _link("wan", "10.0.0.7/8")
        + _link("lan", "192.0.2.7/24")
        + "ip route add default via 192.0.2.1 metric 200; ip route add default via 10.0.0.1 metric 100",
        "10.0.0.7",
    ),
    "a default route that rejects is none": Node(
        _link("wan", "10.0.0.7/8")
        + _link("lan", "192.0.2.7/24")
        + "ip route add unreachable default metric 1; ip route add default via 192.0.2.1 metric 200",
        "192.0.2.7",
    ),
    "a half of everything is no default route": Node(
        _link("wan", "10.0.0.7/8")
        + _link("lan", "192.0.2.7/24")
        + "ip route add 0.0.0.0/1 via 10.0.0.1; ip route add default via 192.0.2.1",
        "192.0.2.7",
    ),
    "a bridge with a smaller address": Node(
        _link("wan", "203.0.113.200/26")
        + "ip link add docker0 type bridge; ip link set docker0 up; ip address add 172.17.0.1/16 dev docker0; "
        "ip route add default via 203.0.113.193",
        "203.0.113.200",
    ),
    "no default route": Node(_link("wan", "169.254.3.4/16") + _link("lan", "192.0.2.7/24"), "192.0.2.7"),
    "a point-to-point default route": Node(_link("wan", "192.0.2.7/32") + "ip route add default dev wan", "192.0.2.7"),
    "loopback alone": Node("", ""),
    "no interface that is up": Node("ip link set lo down", ""),
}


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A PATH with bash and two programs of coreutils."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "env", "sort", "tail"):
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return folder


@pytest.mark.parametrize("node", NODES.values(), ids=NODES)
def test_ip_detect(node: Node, bare_path: Path) -> None:
    script = f"set -e; {_UP}{node.setup}\nexec env -i PATH={bare_path} {DEFAULT_IP_DETECT}"
    done = subprocess.run(["unshare", "-n", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == (f"{node.address}\n" if node.address else "")
    assert done.returncode == (0 if node.address else 1)
    assert done.stderr == ("" if node.address else "ip-detect: this node has no IPv4 address\n")
