"""What concerns the whole cluster: its nodes, their VXLAN ends, and the IP pools."""

from collections import Counter
from hashlib import sha1
from ipaddress import IPv4Interface

from calico.felix.calc.inputs import Node, PoolInput
from calico.felix.calc.numbers import Network4, canonical_address
from calico.felix.calc.published import Published
from calico.felix.desired import Host, Pool, Vtep

_FIRST_BYTE = "66"
"""Of a derived MAC address: locally administered, and an f for felix."""


def mac_of(node: str, given: str = "") -> str:
    """The MAC address of a node's VXLAN device: as given, or as all derive it from the name alike."""
    digest = sha1(node.encode(), usedforsecurity=False).hexdigest()[:10]
    return given or ":".join((_FIRST_BYTE, *(digest[at : at + 2] for at in range(0, 10, 2))))


class Nodes:
    """The nodes by name, and what follows of each."""

    def __init__(self, own: str) -> None:
        self._own = own
        self._nodes: dict[str, Node] = {}
        self.hosts: Published[str, Host] = Published(self._host)
        self.vteps: Published[str, Vtep] = Published(self._vtep)

    def __len__(self) -> int:
        return len(self._nodes)

    def set_node(self, name: str, node: Node | None) -> None:
        """A node as it is now; None: it is gone."""
        if node is None:
            self._nodes.pop(name, None)
        else:
            self._nodes[name] = node
        self.hosts.suspect(name)
        self.vteps.suspect(name)

    def address(self, name: str) -> str:
        """A node's IPv4 address; empty where it has none."""
        node = self._nodes.get(name)
        return bare(node.address4) if node else ""

    def _host(self, name: str) -> Host | None:
        node = self._nodes.get(name)
        if node is None:
            return None
        subnet = str(IPv4Interface(node.address4).network) if node.address4 else ""
        return Host(
            bare(node.address4), bare(node.address6), node.vxlan_address, node.ipip_address, node.vxlan_mac, subnet
        )

    def _vtep(self, name: str) -> Vtep | None:
        node = self._nodes.get(name)
        if node is None or name == self._own or not node.address4 or not node.vxlan_address:
            return None
        return Vtep(node.vxlan_address, mac_of(name, node.vxlan_mac), bare(node.address4))


def bare(text: str) -> str:
    """An address without its prefix length, in its one spelling."""
    return canonical_address(text.partition("/")[0])


class Pools:
    """The pools by network. Of two resources for one network the one whose name is first counts."""

    def __init__(self) -> None:
        self._pools: dict[str, dict[str, Pool]] = {}
        self._of: dict[str, PoolInput] = {}
        self._lengths: Counter[int] = Counter()
        self.published: Published[str, Pool] = Published(self.pool)

    def set_pool(self, key: str, pool: PoolInput | None) -> list[str]:
        """A pool as it is now; None: it is gone. Returns the networks of which something may differ."""
        before = self._of.pop(key, None)
        if before is not None:
            del self._pools[before.cidr][before.name]
            if not self._pools[before.cidr]:
                del self._pools[before.cidr]
                self._count(before.cidr, -1)
        if pool is not None:
            self._of[key] = pool
            if pool.cidr not in self._pools:
                self._count(pool.cidr, 1)
            self._pools.setdefault(pool.cidr, {})[pool.name] = pool.pool
        touched = list({one.cidr for one in (before, pool) if one is not None})
        self.published.suspect_all(touched)
        return touched

    def pool(self, cidr: str) -> Pool | None:
        """The pool of exactly this network."""
        named = self._pools.get(cidr)
        return named[min(named)] if named else None

    def around(self, cidr: str) -> Pool | None:
        """The narrowest pool that an IPv4 network is in."""
        network = Network4.parse(cidr)
        for length in sorted(self._lengths, reverse=True):
            if length <= network.length and (found := self.pool(str(network.shortened(length)))):
                return found
        return None

    def _count(self, cidr: str, change: int) -> None:
        """How many IPv4 pools there are of each prefix length."""
        if ":" in cidr:
            return
        length = Network4.parse(cidr).length
        self._lengths[length] += change
        if not self._lengths[length]:
            del self._lengths[length]
