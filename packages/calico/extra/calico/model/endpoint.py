"""What workload and host endpoints share: named ports."""

from typing import NamedTuple

from calico.model import formats
from calico.model.problems import Path, Report
from calico.model.scalars import PORT_PROTOCOLS, PROTOCOL, Protocol
from calico.model.schema import Integer, Listing, Member, Struct, Text


class EndpointPort(NamedTuple):
    """A port that rules may call by `name`."""

    name: str = ""
    protocol: Protocol = ""
    port: int = 0


def _rule(port: EndpointPort, path: Path, report: Report) -> None:
    if port.protocol and port.protocol not in PORT_PROTOCOLS:
        report.add((*path, "protocol"), f"{port.protocol} has no ports", "TCP, UDP and SCTP have")


PORTS = Listing(
    Struct(
        EndpointPort,
        (
            Member("name", Text(formats.port_name), always=True, required=True),
            Member("protocol", PROTOCOL, always=True, required=True),
            Member("port", Integer(least=0, most=65535), always=True, required=True),
        ),
        _rule,
    )
)
PROFILES = Listing(Text(formats.name))
