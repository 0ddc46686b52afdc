"""What every command works on."""

from typing import NamedTuple

from pkgpanda.node.host import Host
from pkgpanda.node.layout import Layout


class Options(NamedTuple):
    """How to activate. Without `systemd` nothing is asked of systemctl; without `block` nothing is waited for."""

    systemd: bool = True
    block: bool = True
    gate: bool = False
    gate_seconds: float = 120
    keep: int = 3


class Node(NamedTuple):
    """A machine, where our things lie on it, and how to work."""

    host: Host
    layout: Layout
    options: Options = Options()
