"""`calico-felix --cleanup`: take away what felix made in the kernel, and nothing else.

What is felix', and how it is recognised, is in docs/explanation/ownership.md. Nothing here asks the datastore, which
may be gone already. Running it again finds nothing to do.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

from calico.felix.dataplane.interfaces import InterfaceMonitor, Interfaces, is_workload
from calico.felix.dataplane.nft.cleanup import present_tables, remove_tables
from calico.felix.dataplane.routes import IPIP_DEVICE, VXLAN_DEVICE
from calico.felix.dataplane.sysctls import Sysctls
from calico.felix.dataplane.tunnels import Step
from calico.netlink import route
from calico.netlink.message import NetlinkError
from calico.netlink.route import RTN_UNICAST, RTPROT_FELIX, Route
from calico.netlink.socket import NETLINK_NETFILTER, Netlink

_INET6 = 10
# net/ipv4/ipip.c: what the kernel gives tunl0 when it makes it.
_IPIP_MTU = 1480


def cleanup(
    directory: Path,
    prefixes: tuple[str, ...] = ("cali",),
    protocol: int = 3,
    *,
    dry_run: bool,
    bird_routes: bool = False,
) -> list[str]:
    """Remove everything; what it was, a line each. Raises OSError for what cannot be removed.

    `bird_routes`: those of BIRD go, too. It leaves them in the kernel when it ends. Nothing tells ours from those of
    another BIRD, so that only the removal of the package, where ours has run, asks for it.
    """
    monitor, netlink = InterfaceMonitor(), Netlink()
    try:
        monitor.resync()
        steps = list(_routes(netlink, monitor.interfaces, prefixes, protocol))
        if bird_routes:
            steps += _bird_routes(netlink)
        steps += _devices(monitor.interfaces)
        if not dry_run:
            for step in steps:
                _carry_out(netlink, step)
    finally:
        monitor.close()
        netlink.close()
    removed = [step.what for step in steps]
    sysctls = Sysctls(directory / "felix-sysctls")
    settings = sysctls.recorded() if dry_run else sysctls.restore()
    removed += _tables(dry_run)
    # The device's own settings go with it.
    kept = [one for one in settings if f"/{VXLAN_DEVICE}/" not in one.path]
    if not dry_run:
        (directory / "felix.lock").unlink(missing_ok=True)
    removed += [f"the setting net.{one.path.replace('/', '.')}, which was {one.value}" for one in kept]
    return removed


def _tables(dry_run: bool) -> list[str]:
    """Last, with nothing left that leads to workloads: policy."""
    with Netlink(NETLINK_NETFILTER) as netlink:
        return present_tables(netlink) if dry_run else remove_tables(netlink)


def _carry_out(netlink: Netlink, step: Step) -> None:
    try:
        route.apply(netlink, step.request, step.what)
    except NetlinkError as error:
        if not route.is_gone(error):
            raise


def _routes(netlink: Netlink, interfaces: Interfaces, prefixes: tuple[str, ...], protocol: int) -> Iterator[Step]:
    """Ours by protocol, those on our tunnels, and those of single addresses on workloads' interfaces."""
    names = {interface.ifindex: name for name, interface in interfaces.items()}
    for family in (2, _INET6):
        for one in route.list_routes(netlink, family):
            name = names.get(one.ifindex, "")
            if _is_ours(one, name, prefixes, protocol):
                where = f" on {name}" if name else ""
                yield Step(route.delete_route_request(one), f"the route {one.network}{where}")


def _bird_routes(netlink: Netlink) -> Iterator[Step]:
    for family in (2, _INET6):
        for one in route.list_routes(netlink, family):
            if one.protocol == route.RTPROT_BIRD:
                yield Step(route.delete_route_request(one), f"BIRD's route {one.network}")


def _is_ours(one: Route, name: str, prefixes: tuple[str, ...], protocol: int) -> bool:
    if one.protocol == RTPROT_FELIX:
        return True
    is_single = one.network.num_addresses == 1 and one.gateway is None and one.kind == RTN_UNICAST
    if is_workload(name, prefixes):
        return is_single and one.protocol == protocol
    return name in (VXLAN_DEVICE, IPIP_DEVICE) and one.protocol not in (route.RTPROT_KERNEL, route.RTPROT_BIRD)


def _devices(interfaces: Interfaces) -> Iterator[Step]:
    vxlan = interfaces.get(VXLAN_DEVICE)
    if vxlan is not None and vxlan.link.kind == "vxlan":
        yield Step(route.delete_link_request(vxlan.ifindex), f"the device {VXLAN_DEVICE}")
    ipip = interfaces.get(IPIP_DEVICE)
    if ipip is None or ipip.link.kind != "ipip":
        return
    # The kernel's own: it cannot be deleted, so it becomes what it was when ipip was loaded.
    for address in sorted(one for one in ipip.addresses if isinstance(one.address, IPv4Address)):
        yield Step(route.delete_address_request(address), f"the address {address.address} of {IPIP_DEVICE}")
    if ipip.link.mtu != _IPIP_MTU:
        yield Step(route.set_link_request(ipip.ifindex, mtu=_IPIP_MTU), f"the MTU of {IPIP_DEVICE}")
    if ipip.link.is_up:
        yield Step(route.set_link_request(ipip.ifindex, up=False), f"{IPIP_DEVICE}'s being switched on")
