"""The network of a lab: a bridge in a namespace of its own, and a namespace with one `eth0` for each node.

Nothing of it touches the machine's own interfaces: both ends of every cable are made inside the lab's namespaces.
"""

import ipaddress
from pathlib import Path

from lab.instance import Instance, LabError, host


class Network:
    """A bridge, which has the address `gateway` (the last of `subnet` where none is given) and is every node's gateway,
    and the nodes' cables to it. Made, or (`is_there`) found again."""

    def __init__(
        self, instance: Instance, subnet: str = "10.99.0.0/24", gateway: str = "", is_there: bool = False
    ) -> None:
        self.instance = instance
        self.subnet = ipaddress.IPv4Network(subnet)
        self.gateway = gateway or str(self.subnet.broadcast_address - 1)
        self.bridge = f"{instance.name}-br"
        if not is_there:
            self._make()

    def _make(self) -> None:
        self._add_namespace(self.bridge)
        host("ip", "-n", self.bridge, "link", "add", "br0", "type", "bridge")
        host("ip", "-n", self.bridge, "addr", "add", f"{self.gateway}/{self.subnet.prefixlen}", "dev", "br0")
        host("ip", "-n", self.bridge, "link", "set", "br0", "up")

    def _add_namespace(self, name: str) -> None:
        self.instance.record("netns", name)
        host("ip", "netns", "add", name)
        host("ip", "-n", name, "link", "set", "lo", "up")

    def namespace(self, node: str) -> str:
        """The name of a node's network namespace, as `ip netns` knows it."""
        return f"{self.instance.name}-{node}"

    def add(self, node: str, address: str) -> None:
        """Give `node` a namespace with `eth0`, its address and a default route."""
        if ipaddress.IPv4Address(address) not in self.subnet:
            raise LabError(f"{node}: {address} is not in {self.subnet}")
        name = self.namespace(node)
        self._add_namespace(name)
        # The same card after every boot, so that neighbours' tables stay right.
        card = ["address", _hardware_address(address)]
        peer = ["peer", "name", _port(node), "netns", self.bridge]
        host("ip", "-n", name, "link", "add", "eth0", *card, "type", "veth", *peer)
        host("ip", "-n", self.bridge, "link", "set", _port(node), "master", "br0", "up")
        host("ip", "-n", name, "addr", "add", f"{address}/{self.subnet.prefixlen}", "dev", "eth0")
        host("ip", "-n", name, "link", "set", "eth0", "up")
        host("ip", "-n", name, "route", "add", "default", "via", self.gateway)

    def remove(self, node: str) -> None:
        """Take `node`'s cable and its namespace away."""
        if Path("/run/netns", self.namespace(node)).exists():
            # The kernel empties a namespace some time after it went; the bridge's port must be free at once.
            host("ip", "-n", self.bridge, "link", "delete", _port(node), check=False)
            host("ip", "netns", "delete", self.namespace(node))

    def cut(self, node: str) -> None:
        """Unplug `node`: nothing it sends arrives, nothing reaches it; it sees its own link lose the carrier."""
        host("ip", "-n", self.bridge, "link", "set", _port(node), "down")

    def slow(self, node: str, kbits: int) -> None:
        """Let the cable of `node` carry no more than that many kilobits a second, each way."""
        rate = ["root", "tbf", "rate", f"{kbits}kbit", "burst", "16kb", "latency", "400ms"]
        host("tc", "-n", self.bridge, "qdisc", "replace", "dev", _port(node), *rate)
        host("tc", "-n", self.namespace(node), "qdisc", "replace", "dev", "eth0", *rate)

    def lose(self, node: str, percent: int) -> None:
        """Let the cable of `node` lose that share of the packets, each way, at random."""
        self._clear_loss(node)
        if percent <= 0:
            return
        port, table = _port(node), _table(node)
        lossy = f"numgen random mod 100 <= {percent - 1} drop"
        self._nft(
            f"add table {table}; "
            f"add chain {table} in {{ type filter hook prerouting priority 0; }}; "
            f"add chain {table} out {{ type filter hook postrouting priority 0; }}; "
            f'add rule {table} in iifname "{port}" {lossy}; '
            f'add rule {table} out oifname "{port}" {lossy}'
        )

    def heal(self, node: str) -> None:
        """Plug `node` in again, at full speed and without loss."""
        host("ip", "-n", self.bridge, "link", "set", _port(node), "up")
        host("tc", "-n", self.bridge, "qdisc", "delete", "dev", _port(node), "root", check=False)
        host("tc", "-n", self.namespace(node), "qdisc", "delete", "dev", "eth0", "root", check=False)
        self._clear_loss(node)

    def _clear_loss(self, node: str) -> None:
        """Adding a table that is there changes nothing, so this works whether it is or not."""
        self._nft(f"add table {_table(node)}; delete table {_table(node)}")

    def _nft(self, commands: str) -> None:
        host("nsenter", f"--net=/run/netns/{self.bridge}", "--", "nft", commands)


def _port(node: str) -> str:
    port = f"p-{node}"
    if len(port) > 15:
        raise LabError(f"{node}: a node's name has at most 13 characters")
    return port


def _hardware_address(address: str) -> str:
    """A locally administered address that follows from the IPv4 one."""
    return ":".join(f"{byte:02x}" for byte in (0x02, 0xDC, *ipaddress.IPv4Address(address).packed))


def _table(node: str) -> str:
    """nft takes no hyphen in a name."""
    return f"bridge {_port(node).replace('-', '_')}"
