"""Interfaces and inputs of routes, made short."""

from ipaddress import ip_address

from calico.felix.dataplane.interfaces import Interface
from calico.felix.dataplane.routes import Inputs, RouteSettings
from calico.felix.desired import Host, PolicyList, Workload
from calico.netlink.route import IFF_RUNNING, IFF_UP, InterfaceAddress, Link

HERE = "10.9.0.1"


def interface(
    index: int, name: str, *addresses: str, up: bool = True, kind: str = "veth", mtu: int = 1500
) -> Interface:
    """An interface with addresses as `address/prefix`."""
    flags = IFF_UP | IFF_RUNNING if up else 0
    found = (one.partition("/") for one in addresses)
    held = frozenset(InterfaceAddress(index, ip_address(text), int(prefix or 32)) for text, _, prefix in found)
    return Interface(Link(index, name, kind, mtu, "", flags), held)


def workload(name: str, *addresses: str, active: bool = True) -> Workload:
    """A workload behind an interface."""
    four = tuple(one for one in addresses if ":" not in one)
    six = tuple(one for one in addresses if ":" in one)
    return Workload(name, "", four, six, (), active, (), PolicyList())


def inputs(**changes: object) -> Inputs:
    """A host `here` with the address HERE on eth0, and both tunnels on."""
    interfaces = {
        "eth0": interface(2, "eth0", f"{HERE}/24"),
        "vxlan.calico": interface(3, "vxlan.calico", kind="vxlan"),
        "tunl0": interface(4, "tunl0", kind="ipip"),
    }
    settings = RouteSettings("here", vxlan=True, ipip=True)
    base = Inputs(settings, interfaces, {}, {}, {}, {"here": Host(address4=HERE, vxlan_address="10.8.0.1")})
    return base._replace(**changes)  # type: ignore[arg-type]
