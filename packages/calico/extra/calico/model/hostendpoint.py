"""HostEndpoint: an interface of a node itself."""

from typing import NamedTuple

from calico.model import formats
from calico.model.endpoint import PORTS, PROFILES, EndpointPort
from calico.model.problems import Path, Report
from calico.model.resource import Definition
from calico.model.schema import TEXT, Listing, Member, Struct, Text


class HostEndpointSpec(NamedTuple):
    """The interface by name, by its addresses, or both."""

    node: str = ""
    interface_name: str = ""
    expected_ips: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


def _rule(spec: HostEndpointSpec, path: Path, report: Report) -> None:
    if not spec.interface_name and not spec.expected_ips:
        report.add((*path, "interfaceName"), "no interface or expected IPs have been specified")


SPEC = Struct(
    HostEndpointSpec,
    (
        Member("node", TEXT, required=True),
        Member("interfaceName", Text(formats.interface)),
        Member("expectedIPs", Listing(Text(formats.ip))),
        Member("profiles", PROFILES),
        Member("ports", PORTS),
    ),
    _rule,
)

DEFINITION = Definition(SPEC, formats.name)
