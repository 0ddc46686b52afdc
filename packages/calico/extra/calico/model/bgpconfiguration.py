"""BGPConfiguration: BGP of the whole cluster (`default`) and the log level of one node (`node.<name>`)."""

from typing import NamedTuple

from calico.model import formats
from calico.model.problems import Report
from calico.model.resource import Definition, Resource
from calico.model.scalars import AS_NUMBER
from calico.model.schema import FLAG, Choice, Listing, Member, Struct, Text

LOG_LEVEL = Choice("Debug", "Info", "Warning", "Error", "Fatal")


class ServiceBlock(NamedTuple):
    """A range of service addresses to advertise."""

    cidr: str = ""


class BGPConfigurationSpec(NamedTuple):
    """None stands for the default: a full mesh, and AS 64512."""

    log_severity_screen: str = ""
    node_to_node_mesh_enabled: bool | None = None
    as_number: int | None = None
    service_external_ips: tuple[ServiceBlock, ...] = ()
    service_cluster_ips: tuple[ServiceBlock, ...] = ()


_BLOCKS = Listing(Struct(ServiceBlock, (Member("cidr", Text(formats.net)),)))
SPEC = Struct(
    BGPConfigurationSpec,
    (
        Member("logSeverityScreen", LOG_LEVEL),
        Member("nodeToNodeMeshEnabled", FLAG, optional=True),
        Member("asNumber", AS_NUMBER, optional=True),
        Member("serviceExternalIPs", _BLOCKS),
        Member("serviceClusterIPs", _BLOCKS),
    ),
)


def _check(resource: Resource[BGPConfigurationSpec], report: Report) -> None:
    if resource.metadata.name == "default":
        return
    for member, value in zip(SPEC.members[1:], resource.spec[1:], strict=True):
        if value not in (None, ()):
            message = f"Cannot set {member.name} on a non default BGP Configuration."
            report.add(("spec", member.name), message, "only BGPConfiguration default may")


DEFINITION = Definition(SPEC, formats.name, check=_check)
