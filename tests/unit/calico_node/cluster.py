"""What start-up's tests share: settings of one node, a client in memory, and what stands in the datastore."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv6Address
from pathlib import Path
from typing import Any

from calico.client.resources import Client
from calico.datastore.memory import MemoryStore
from calico.datastore.store import Store
from calico.node.settings import Encapsulation, NodeSettings, PoolSettings
from calico.node.startup import HostView, start
from tests.unit.ipam.cluster import documents, ipam_of

RESOURCES = "/calico/resources/v3/projectcalico.org/"
VXLAN, IPIP = Encapsulation(vxlan="Always"), Encapsulation(ipip="Always")


def settings(state: Path, name: str = "10.0.0.5", encapsulation: Encapsulation = VXLAN, **changed: Any) -> NodeSettings:
    """What calico-node.env says on a node of DC/OS; `cidr` is the pool's."""
    pool = PoolSettings(changed.pop("cidr", "172.29.0.0/16"), encapsulation, True, 26, "all()")
    home = state / name
    return NodeSettings(name, IPv4Interface(name), pool4=pool, state=home, nodename_file=home / "nodename", **changed)


def host(*addresses: str) -> HostView:
    """A host with these addresses."""
    found: Iterable[IPv4Address | IPv6Address] = [IPv4Address(one) for one in addresses]
    return HostView(lambda: found)


def client_of(store: Store) -> Client:
    """A client with IPAM."""
    return Client(store, ipam_of(store))


def started(state: Path, *names: str, store: Store | None = None, **changed: Any) -> Client:
    """A cluster of nodes that have started one after the other."""
    client = client_of(store or MemoryStore())
    for name in names:
        start(client, settings(state, name, **changed), host())
    return client


def stored(client: Client) -> dict[str, Any]:
    """Every resource, by `plural/name`, with its spec alone."""
    return {key: value["spec"] for key, value in documents(client.store, RESOURCES).items()}
