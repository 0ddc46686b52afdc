"""Node: a machine of the cluster, its addresses and tunnels."""

from typing import NamedTuple

from calico.model import formats
from calico.model.problems import Path, Report
from calico.model.resource import Definition, Resource
from calico.model.scalars import AS_NUMBER
from calico.model.schema import TEXT, Listing, Member, Struct, Text


class NodeBGP(NamedTuple):
    """The node as BGP sees it; the addresses keep their host bits."""

    as_number: int | None = None
    ipv4_address: str = ""
    ipv6_address: str = ""
    ipv4_ipip_tunnel_addr: str = ""
    route_reflector_cluster_id: str = ""


class OrchRef(NamedTuple):
    """What an orchestrator calls the node."""

    node_name: str = ""
    orchestrator: str = ""


class Wireguard(NamedTuple):
    """The node's WireGuard interface."""

    interface_ipv4_address: str = ""


class NodeSpec(NamedTuple):
    """`bgp` is None where the node has no address yet."""

    bgp: NodeBGP | None = None
    ipv4_vxlan_tunnel_addr: str = ""
    vxlan_tunnel_mac_addr: str = ""
    orch_refs: tuple[OrchRef, ...] = ()
    wireguard: Wireguard | None = None


class NodeStatus(NamedTuple):
    """What felix reports of the node."""

    wireguard_public_key: str = ""


def _bgp_rule(bgp: NodeBGP, path: Path, report: Report) -> None:
    if bgp == NodeBGP():
        report.add(path, "should not be empty", "leave bgp out instead")


_BGP = Struct(
    NodeBGP,
    (
        Member("asNumber", AS_NUMBER, optional=True),
        Member("ipv4Address", Text(formats.cidrv4)),
        Member("ipv6Address", Text(formats.cidrv6)),
        Member("ipv4IPIPTunnelAddr", Text(formats.ipv4)),
        Member("routeReflectorClusterID", Text(formats.ipv4)),
    ),
    _bgp_rule,
)

SPEC = Struct(
    NodeSpec,
    (
        Member("bgp", _BGP, optional=True),
        Member("ipv4VXLANTunnelAddr", Text(formats.ipv4)),
        Member("vxlanTunnelMACAddr", Text(formats.mac)),
        Member(
            "orchRefs", Listing(Struct(OrchRef, (Member("nodeName", TEXT), Member("orchestrator", TEXT, always=True))))
        ),
        Member("wireguard", Struct(Wireguard, (Member("interfaceIpv4Address", Text(formats.ipv4)),)), optional=True),
    ),
)
STATUS = Struct(NodeStatus, (Member("wireguardPublicKey", Text(formats.wireguard_key)),))


def without_empty_bgp(resource: Resource[NodeSpec]) -> Resource[NodeSpec]:
    """The node with no `bgp` rather than an empty one, which upstream refuses."""
    if resource.spec.bgp != NodeBGP():
        return resource
    return resource._replace(spec=resource.spec._replace(bgp=None))


DEFINITION = Definition(SPEC, formats.name, STATUS)
