"""Which host endpoint applies to which interface: a pure function of the host endpoints and the interfaces."""

from collections.abc import Mapping
from typing import NamedTuple

from calico.felix.dataplane.interfaces import Interface, Interfaces, is_workload
from calico.felix.desired import HostEndpoint


class Resolution(NamedTuple):
    """The host endpoint of each interface that has one, and the one for every other interface, where there is one.

    `every` never applies to workloads' interfaces. Both hold names of host endpoints.
    """

    by_interface: Mapping[str, str]
    every: str = ""


def resolve(
    host_endpoints: Mapping[str, HostEndpoint], interfaces: Interfaces, prefixes: tuple[str, ...]
) -> Resolution:
    """Match host endpoints with interfaces.

    A host endpoint matches an interface by its name; without a name, by one of its addresses on it. Of several, the one
    with the lowest name applies. An interface that is not there (yet) is matched by name all the same: the policy is in
    place before it appears. Workloads' interfaces have none.
    """
    named: dict[str, str] = {}
    every = ""
    for name in sorted(host_endpoints, reverse=True):
        endpoint = host_endpoints[name]
        if endpoint.interface == "*":
            every = name
            continue
        for interface in _matches(endpoint, interfaces):
            if not is_workload(interface, prefixes):
                named[interface] = name
    return Resolution(named, every)


def _matches(endpoint: HostEndpoint, interfaces: Interfaces) -> list[str]:
    if endpoint.interface:
        return [endpoint.interface]
    return [name for name, interface in interfaces.items() if _addresses(interface) & set(endpoint.addresses)]


def _addresses(interface: Interface) -> set[str]:
    return {str(one.address) for one in interface.addresses}
