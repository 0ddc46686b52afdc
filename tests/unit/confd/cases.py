"""Datastore -> what BIRD must do, case by case. Unit tests hold the plan against it, integration tests a running BIRD.

A session is written `address AS` with the words `passive`, `client <cluster id>` and `password` where they apply.
`advertised` and `kernel` say of prefixes whether they may go to peers and into the kernel, were they in BIRD's table.
`problems` are beginnings of what is reported.
"""

from collections.abc import Mapping
from typing import NamedTuple

from calico.confd.cluster import Cluster, Node
from calico.confd.plan import Configuration, Password, Session
from calico.model.bgpconfiguration import BGPConfigurationSpec
from calico.model.bgppeer import BGPPeerSpec
from calico.model.ipam import Affinity
from calico.model.ippool import IPPoolSpec


class Case(NamedTuple):
    """One case, seen from node `own`."""

    name: str
    cluster: Cluster
    sessions: Mapping[str, str] = {}
    advertised: Mapping[str, bool] = {}
    kernel: Mapping[str, bool] = {}
    problems: tuple[str, ...] = ()
    own: str = "a"
    router_id: str = ""
    is_router: str = "10.0.0.1"
    log_level: str = "info"
    passwords: Mapping[str, Password] = {}


def node(name: str, ipv4: str = "", ipv6: str = "", as_number: int = 0, cluster_id: str = "", **labels: str) -> Node:
    """A node of a cluster."""
    return Node(name, labels, as_number, ipv4, ipv6, cluster_id)


def cluster(
    *nodes: Node,
    peers: Mapping[str, BGPPeerSpec] = {},
    pools: Mapping[str, IPPoolSpec] = {},
    blocks: Mapping[str, str] = {},
    mesh: bool | None = None,
    as_number: int | None = None,
    levels: Mapping[str, str] = {},
    unreadable: tuple[tuple[str, str], ...] = (),
) -> Cluster:
    """A cluster; `blocks` are this node's, with their states."""
    configurations = {name: BGPConfigurationSpec(level) for name, level in levels.items()}
    if mesh is not None or as_number is not None:
        configurations["default"] = BGPConfigurationSpec(levels.get("default", ""), mesh, as_number)
    affinities = {cidr: Affinity(state) for cidr, state in blocks.items()}
    by_name = {one.name: one for one in nodes}
    return Cluster(by_name, dict(peers), configurations, dict(pools), affinities, unreadable)


def shown(session: Session) -> str:
    """A session as cases write it."""
    words = [session.address, str(session.as_number)]
    words += ["passive"] if session.passive else []
    words += ["client", session.cluster_id] if session.cluster_id else []
    words += ["password"] if session.password else []
    return " ".join(words)


def sessions_of(configuration: Configuration) -> dict[str, str]:
    """All of them, by name."""
    return {session.name: shown(session) for family in configuration.families for session in family.sessions}


A = node("a", "10.0.0.1", "fd00::1")
B = node("b", "10.0.0.2", "fd00::2")
C = node("c", "10.0.0.3", "fd00::3")
MESH = {
    "Mesh_10_0_0_2": "10.0.0.2 64512 passive",
    "Mesh_10_0_0_3": "10.0.0.3 64512 passive",
    "Mesh_fd00__2": "fd00::2 64512 passive",
    "Mesh_fd00__3": "fd00::3 64512 passive",
}
PLAIN = IPPoolSpec("10.1.0.0/16")
IPIP = IPPoolSpec("10.2.0.0/16", ipip_mode="Always")
VXLAN = IPPoolSpec("10.3.0.0/16", vxlan_mode="Always")
V6 = IPPoolSpec("fd01::/64")
ROUTER = BGPPeerSpec(peer_ip="192.0.2.1", as_number=65001)
REFLECTOR = node("r", "10.0.0.9", "", cluster_id="1.0.0.1", role="rr")
OTHER_REFLECTOR = node("s", "10.0.0.8", "", cluster_id="1.0.0.2", role="rr")
TO_REFLECTORS = BGPPeerSpec(node_selector="all()", peer_selector="role == 'rr'")
A4, B4, C4 = (one._replace(ipv6="") for one in (A, B, C))

MESH_CASES = [
    Case("three nodes mesh in both families", cluster(A, B, C), MESH),
    Case(
        "the later address as text waits",
        cluster(node("a", "10.0.0.10"), node("b", "10.0.0.9"), node("c", "10.0.0.2"), node("d", "9.0.0.1")),
        {
            "Mesh_10_0_0_9": "10.0.0.9 64512 passive",
            "Mesh_10_0_0_2": "10.0.0.2 64512 passive",
            "Mesh_9_0_0_1": "9.0.0.1 64512 passive",
        },
        is_router="10.0.0.10",
    ),
    Case(
        "the earlier address as text connects",
        cluster(node("a", "10.0.0.9"), node("b", "10.0.0.10")),
        {"Mesh_10_0_0_10": "10.0.0.10 64512"},
        is_router="10.0.0.9",
    ),
    Case("a node alone speaks to nobody", cluster(A)),
    Case("the mesh is off", cluster(A, B, C, mesh=False)),
    Case("the mesh is on in so many words", cluster(A4, B4, mesh=True), {"Mesh_10_0_0_2": "10.0.0.2 64512 passive"}),
    Case(
        "the cluster has another AS",
        cluster(A4, B4, as_number=65010),
        {"Mesh_10_0_0_2": "10.0.0.2 65010 passive"},
    ),
    Case(
        "a node has an AS of its own",
        cluster(A4, B4._replace(as_number=65020)),
        {"Mesh_10_0_0_2": "10.0.0.2 65020 passive"},
    ),
    Case("a node without addresses is no neighbour", cluster(A, node("b"))),
    Case(
        "a node of one family meshes in it",
        cluster(A, node("b", "10.0.0.2"), node("c", "", "fd00::3")),
        {"Mesh_10_0_0_2": "10.0.0.2 64512 passive", "Mesh_fd00__3": "fd00::3 64512 passive"},
    ),
    Case(
        "this node has IPv4 alone",
        cluster(A4, B),
        {"Mesh_10_0_0_2": "10.0.0.2 64512 passive"},
    ),
    Case(
        "this node has IPv6 alone, and a router id made of its name",
        cluster(node("a", "", "fd00::1"), B),
        {"Mesh_fd00__2": "fd00::2 64512 passive"},
        is_router="202.151.129.18",
    ),
    Case(
        "a reflector meshes in IPv4 alone",
        cluster(A._replace(cluster_id="1.0.0.1"), B),
        {"Mesh_10_0_0_2": "10.0.0.2 64512 passive"},
    ),
    Case(
        "a reflector is in the mesh of the others in IPv4 alone",
        cluster(A, B._replace(cluster_id="1.0.0.1")),
        {"Mesh_10_0_0_2": "10.0.0.2 64512 passive"},
    ),
    Case(
        "two nodes claim one address",
        cluster(A4, node("b", "10.0.0.2"), node("c", "10.0.0.2", as_number=65001)),
        {"Mesh_10_0_0_2": "10.0.0.2 64512 passive"},
        problems=("Node(c): spec.bgp: 10.0.0.2 is the address of node b too",),
    ),
    Case(
        "another node claims our address",
        cluster(A4, node("b", "10.0.0.1")),
        problems=("Node(b): spec.bgp: 10.0.0.1 is the address of node a too",),
    ),
]

PEER_CASES = [
    Case(
        "a global peer beside the mesh",
        cluster(A4, B4, peers={"router": ROUTER}),
        {"Global_192_0_2_1": "192.0.2.1 65001", "Mesh_10_0_0_2": "10.0.0.2 64512 passive"},
    ),
    Case(
        "a global peer in IPv6",
        cluster(A, peers={"router": BGPPeerSpec(peer_ip="2001:db8::1", as_number=65001)}),
        {"Global_2001_db8__1": "2001:db8::1 65001"},
    ),
    Case(
        "a peer of this node",
        cluster(A4, peers={"router": ROUTER._replace(node="a")}),
        {"Node_192_0_2_1": "192.0.2.1 65001"},
    ),
    Case("a peer of another node", cluster(A4, peers={"router": ROUTER._replace(node="b")})),
    Case(
        "a node selector that takes this node",
        cluster(node("a", "10.0.0.1", rack="1"), peers={"tor": ROUTER._replace(node_selector="rack == '1'")}),
        {"Node_192_0_2_1": "192.0.2.1 65001"},
    ),
    Case(
        "a node selector that does not",
        cluster(node("a", "10.0.0.1", rack="2"), peers={"tor": ROUTER._replace(node_selector="rack == '1'")}),
    ),
    Case(
        "an AS left out is the cluster's",
        cluster(A4, peers={"router": BGPPeerSpec(peer_ip="192.0.2.1")}, as_number=65010),
        {"Global_192_0_2_1": "192.0.2.1 65010"},
    ),
    Case(
        "an AS of four bytes",
        cluster(A4, peers={"router": ROUTER._replace(as_number=4_200_000_001)}),
        {"Global_192_0_2_1": "192.0.2.1 4200000001"},
    ),
    Case(
        "global wins over the node's own",
        cluster(A4, peers={"g": ROUTER, "n": ROUTER._replace(node="a")}),
        {"Global_192_0_2_1": "192.0.2.1 65001"},
    ),
    Case(
        "two peers disagree on a neighbour",
        cluster(A4, peers={"a": ROUTER, "b": ROUTER._replace(as_number=65002)}),
        {"Global_192_0_2_1": "192.0.2.1 65001"},
        problems=("BGPPeer(b): spec.asNumber: neighbour 192.0.2.1 has another asNumber than in BGPPeer(a)",),
    ),
    Case(
        "a global peer and the node's own disagree",
        cluster(A4, peers={"g": ROUTER, "a": ROUTER._replace(node="a", as_number=65002)}),
        {"Global_192_0_2_1": "192.0.2.1 65001"},
        problems=("BGPPeer(a): spec.asNumber: neighbour 192.0.2.1",),
    ),
    Case(
        "a peer without address",
        cluster(A4, B4, peers={"empty": BGPPeerSpec(as_number=65001), "router": ROUTER}),
        {"Global_192_0_2_1": "192.0.2.1 65001", "Mesh_10_0_0_2": "10.0.0.2 64512 passive"},
        problems=("BGPPeer(empty): spec.peerIP: a peer needs peerIP or peerSelector",),
    ),
    Case(
        "a peer with an address that is none",
        cluster(A4, peers={"bad": BGPPeerSpec(peer_ip="192.0.2.256", as_number=65001), "router": ROUTER}),
        {"Global_192_0_2_1": "192.0.2.1 65001"},
        problems=("BGPPeer(bad): spec.peerIP: '192.0.2.256' is no address",),
    ),
    Case(
        "an IPv6 peer of a node without IPv6",
        cluster(A4, peers={"router": BGPPeerSpec(peer_ip="2001:db8::1", as_number=65001)}),
        problems=("BGPPeer(router): spec.peerIP: 2001:db8::1: node a has no IPv6 address",),
    ),
    Case(
        "a selector that cannot be read",
        cluster(A4, peers={"bad": BGPPeerSpec(peer_selector="role =="), "router": ROUTER}),
        {"Global_192_0_2_1": "192.0.2.1 65001"},
        problems=("BGPPeer(bad): spec.peerSelector: 'role ==': ",),
    ),
    Case(
        "an explicit peer takes the mesh's place",
        cluster(A4, B4, peers={"b": BGPPeerSpec(node="a", peer_ip="10.0.0.2", as_number=64512)}),
        {"Node_10_0_0_2": "10.0.0.2 64512"},
    ),
    Case(
        "an explicit peer with another AS than the node's does not",
        cluster(A4, B4, peers={"b": BGPPeerSpec(node="a", peer_ip="10.0.0.2", as_number=65001)}),
        {"Mesh_10_0_0_2": "10.0.0.2 64512 passive"},
        problems=("BGPPeer(b): spec.asNumber: 65001 is not the AS of 10.0.0.2, which is node b in AS 64512",),
    ),
    Case(
        "without a mesh it is used as it stands",
        cluster(A4, B4, peers={"b": BGPPeerSpec(node="a", peer_ip="10.0.0.2", as_number=65001)}, mesh=False),
        {"Node_10_0_0_2": "10.0.0.2 65001"},
        problems=("BGPPeer(b): spec.asNumber: 65001 is not the AS of 10.0.0.2",),
    ),
    Case("a peer that is this node itself", cluster(A4, peers={"me": BGPPeerSpec(peer_ip="10.0.0.1")})),
    Case(
        "the reverse of a peer by address",
        cluster(A4, B4, peers={"a": BGPPeerSpec(node="b", peer_ip="10.0.0.1", as_number=64512)}, mesh=False),
        {"Node_10_0_0_2": "10.0.0.2 64512"},
    ),
    Case(
        "no reverse where the AS is not ours",
        cluster(A4, B4, peers={"a": BGPPeerSpec(node="b", peer_ip="10.0.0.1", as_number=65001)}, mesh=False),
    ),
    Case(
        "the reverse of a global peer is every node, in its family",
        cluster(A, B, C, peers={"a": BGPPeerSpec(peer_ip="10.0.0.1", as_number=64512)}, mesh=False),
        {"Node_10_0_0_2": "10.0.0.2 64512", "Node_10_0_0_3": "10.0.0.3 64512"},
    ),
]

REFLECTOR_CASES = [
    Case(
        "a client of reflectors",
        cluster(A4, B4, REFLECTOR, OTHER_REFLECTOR, peers={"rr": TO_REFLECTORS}, mesh=False),
        {"Node_10_0_0_8": "10.0.0.8 64512", "Node_10_0_0_9": "10.0.0.9 64512"},
    ),
    Case(
        "a reflector: its clients, and the reflector of the other cluster",
        cluster(A4, REFLECTOR, OTHER_REFLECTOR, peers={"rr": TO_REFLECTORS}, mesh=False),
        {"Node_10_0_0_1": "10.0.0.1 64512 client 1.0.0.1", "Node_10_0_0_8": "10.0.0.8 64512 client 1.0.0.1"},
        own="r",
        is_router="10.0.0.9",
    ),
    Case(
        "a reflector of the same cluster is no client",
        cluster(REFLECTOR, OTHER_REFLECTOR._replace(cluster_id="1.0.0.1"), peers={"rr": TO_REFLECTORS}, mesh=False),
        {"Node_10_0_0_8": "10.0.0.8 64512"},
        own="r",
        is_router="10.0.0.9",
    ),
    Case(
        "a neighbour in another AS is no client",
        cluster(A4._replace(as_number=65001), REFLECTOR, peers={"rr": TO_REFLECTORS}, mesh=False),
        {"Node_10_0_0_1": "10.0.0.1 65001"},
        own="r",
        is_router="10.0.0.9",
    ),
    Case(
        "a router in our AS is a reflector's client",
        cluster(REFLECTOR, peers={"router": ROUTER._replace(as_number=64512)}),
        {"Global_192_0_2_1": "192.0.2.1 64512 client 1.0.0.1"},
        own="r",
        is_router="10.0.0.9",
    ),
    Case(
        "the mesh makes nobody a client",
        cluster(A4, REFLECTOR),
        {"Mesh_10_0_0_1": "10.0.0.1 64512"},
        own="r",
        is_router="10.0.0.9",
    ),
    Case(
        "a global peer selector",
        cluster(A4, REFLECTOR, peers={"rr": BGPPeerSpec(peer_selector="has(role)")}, mesh=False),
        {"Global_10_0_0_9": "10.0.0.9 64512"},
    ),
    Case(
        "a selected node without address",
        cluster(A4, node("r", role="rr"), peers={"rr": TO_REFLECTORS}, mesh=False),
        problems=("BGPPeer(rr): spec.peerSelector: node r has no address to peer with",),
    ),
]

PASSWORD_CASES = [
    Case(
        "a password",
        cluster(A4, peers={"router": ROUTER._replace(password_file="tor")}),
        {"Global_192_0_2_1": "192.0.2.1 65001 password"},
        passwords={"tor": Password("it's a; secret # {}")},
    ),
    Case(
        "the reverse has it too",
        cluster(A4, B4, peers={"a": BGPPeerSpec(node="b", peer_ip="10.0.0.1", password_file="tor")}, mesh=False),
        {"Node_10_0_0_2": "10.0.0.2 64512 password"},
        passwords={"tor": Password("x")},
    ),
    Case(
        "its file is not there",
        cluster(A4, B4, peers={"router": ROUTER._replace(password_file="tor")}),
        {"Mesh_10_0_0_2": "10.0.0.2 64512 passive"},
        problems=("BGPPeer(router): spec.passwordFile: tor: does not exist",),
    ),
    Case(
        "it is empty",
        cluster(A4, peers={"router": ROUTER._replace(password_file="tor")}),
        problems=("BGPPeer(router): spec.passwordFile: tor: is empty",),
        passwords={"tor": Password()},
    ),
    Case(
        "it is too long for TCP",
        cluster(A4, peers={"router": ROUTER._replace(password_file="tor")}),
        problems=("BGPPeer(router): spec.passwordFile: tor: is longer than 80 bytes",),
        passwords={"tor": Password("x" * 81)},
    ),
    Case(
        "BIRD has no way to write it",
        cluster(A4, peers={"router": ROUTER._replace(password_file="tor")}),
        problems=("BGPPeer(router): spec.passwordFile: tor: holds a quotation mark",),
        passwords={"tor": Password('a";\nlog "/etc/passwd" all;#')},
    ),
    Case(
        "another node's missing file is not this node's concern",
        cluster(A4, peers={"router": ROUTER._replace(node="b", password_file="tor")}),
    ),
]

ROUTE_CASES = [
    Case(
        "a block as a whole, nothing inside it",
        cluster(A4, pools={"p": PLAIN}, blocks={"10.1.5.0/26": "confirmed"}),
        advertised={"10.1.5.0/26": True, "10.1.5.7/32": False, "10.1.5.0/27": False},
        kernel={"10.1.5.0/26": True},
    ),
    Case(
        "what else is in the pool goes out: borrowed addresses, others' blocks that are reflected",
        cluster(A4, pools={"p": PLAIN}, blocks={"10.1.5.0/26": "confirmed"}),
        advertised={"10.1.9.1/32": True, "10.1.9.0/26": True, "10.4.0.0/26": False, "0.0.0.0/0": False},
        kernel={"10.1.9.1/32": False, "10.1.9.0/26": True, "10.4.0.0/26": True},
    ),
    Case(
        "a block of an old writer counts as confirmed",
        cluster(A4, pools={"p": PLAIN}, blocks={"10.1.5.0/26": ""}),
        advertised={"10.1.5.0/26": True, "10.1.5.7/32": False},
    ),
    Case(
        "a pending block goes out, and so do its addresses",
        cluster(A4, pools={"p": PLAIN}, blocks={"10.1.5.0/26": "pending"}),
        advertised={"10.1.5.0/26": True, "10.1.5.7/32": True},
        kernel={"10.1.5.0/26": True},
    ),
    Case(
        "a block on its way out as well",
        cluster(A4, pools={"p": PLAIN}, blocks={"10.1.5.0/26": "pendingDeletion"}),
        advertised={"10.1.5.0/26": True, "10.1.5.7/32": True},
    ),
    Case(
        "two blocks, one of them confirmed",
        cluster(A4, pools={"p": PLAIN}, blocks={"10.1.5.0/26": "confirmed", "10.1.6.0/26": "pending"}),
        advertised={"10.1.5.1/32": False, "10.1.6.1/32": True, "10.1.5.0/26": True, "10.1.6.0/26": True},
    ),
    Case(
        "a block of one address leaves the kernel's place to its workload",
        cluster(A4, pools={"p": PLAIN._replace(block_size=32)}, blocks={"10.1.5.7/32": "confirmed"}),
        advertised={"10.1.5.7/32": True},
        kernel={"10.1.5.7/32": False},
    ),
    Case(
        "a disabled pool is a pool",
        cluster(A4, pools={"p": PLAIN._replace(disabled=True)}, blocks={"10.1.5.0/26": "confirmed"}),
        advertised={"10.1.5.0/26": True, "10.1.9.0/26": True},
        kernel={"10.1.9.0/26": True},
    ),
    Case(
        "no pool at all: only blocks go out",
        cluster(A4, blocks={"10.1.5.0/26": "confirmed"}),
        advertised={"10.1.5.0/26": True, "10.1.9.0/26": False},
    ),
    Case(
        "no block at all",
        cluster(A4, pools={"p": PLAIN}),
        advertised={"10.1.5.0/26": True, "10.4.0.0/26": False},
    ),
    Case(
        "IPIP: blocks are advertised, felix has the routes",
        cluster(A4, pools={"p": IPIP}, blocks={"10.2.5.0/26": "confirmed"}),
        advertised={"10.2.5.0/26": True, "10.2.5.1/32": False, "10.2.9.1/32": True},
        kernel={"10.2.5.0/26": False, "10.2.9.0/26": False, "10.4.0.0/26": True},
    ),
    Case(
        "IPIP between subnets only: all of it is felix's",
        cluster(A4, pools={"p": IPIP._replace(ipip_mode="CrossSubnet")}, blocks={"10.2.5.0/26": "confirmed"}),
        advertised={"10.2.5.0/26": True},
        kernel={"10.2.5.0/26": False, "10.2.9.0/26": False},
    ),
    Case(
        "VXLAN likewise",
        cluster(A4, pools={"p": VXLAN}, blocks={"10.3.5.0/26": "confirmed"}),
        advertised={"10.3.5.0/26": True},
        kernel={"10.3.5.0/26": False, "10.3.9.0/26": False},
    ),
    Case(
        "VXLAN between subnets only likewise",
        cluster(A4, pools={"p": VXLAN._replace(vxlan_mode="CrossSubnet")}, blocks={"10.3.5.0/26": "confirmed"}),
        kernel={"10.3.5.0/26": False, "10.3.9.0/26": False},
    ),
    Case(
        "three pools of three kinds",
        cluster(A4, pools={"p": PLAIN, "i": IPIP, "v": VXLAN}),
        advertised={"10.1.9.0/26": True, "10.2.9.0/26": True, "10.3.9.0/26": True, "10.4.9.0/26": False},
        kernel={"10.1.9.0/26": True, "10.2.9.0/26": False, "10.3.9.0/26": False, "10.4.9.0/26": True},
    ),
    Case(
        "IPv6 blocks",
        cluster(A, pools={"p": V6}, blocks={"fd01::1:0/122": "confirmed"}),
        advertised={"fd01::1:0/122": True, "fd01::1:1/128": False, "fd01::2:1/128": True, "fd02::/122": False},
        kernel={"fd01::1:0/122": True, "fd02::/122": True},
    ),
    Case(
        "an affinity that names no block",
        cluster(A4, pools={"p": PLAIN}, blocks={"10.1.5.0/99": "confirmed", "10.1.6.0/26": "confirmed"}),
        advertised={"10.1.6.0/26": True},
        problems=("/calico/ipam/v2/host/a/ipv4/block/10.1.5.0-99: names no block",),
    ),
    Case(
        "a pool that is no network",
        cluster(A4, pools={"p": PLAIN, "bad": IPPoolSpec("10.9.0.0/40")}),
        advertised={"10.1.9.0/26": True},
        problems=("IPPool(bad): spec.cidr: '10.9.0.0/40' is no network",),
    ),
]

NODE_CASES = [
    Case("the router id is given", cluster(A4), router_id="192.0.2.77", is_router="192.0.2.77"),
    Case("the router id is a digest", cluster(A4), router_id="hash", is_router="202.151.129.18"),
    Case(
        "the router id is nonsense",
        cluster(A4),
        router_id="me",
        problems=("CALICO_ROUTER_ID: 'me' is no router id",),
    ),
    Case(
        "this node is not in the datastore: its blocks stay",
        cluster(B4, pools={"p": PLAIN}, blocks={"10.1.5.0/26": "confirmed"}),
        advertised={"10.1.5.0/26": True},
        problems=("Node(a): does not exist",),
        is_router="202.151.129.18",
    ),
    Case(
        "this node has no address yet",
        cluster(node("a"), B, peers={"router": ROUTER}),
        problems=("Node(a): spec.bgp: has no address",),
        is_router="202.151.129.18",
    ),
    Case(
        "a value of the datastore is broken",
        cluster(A4, B4, unreadable=(("/calico/x/bgppeers/p", "asNumber"),)),
        {"Mesh_10_0_0_2": "10.0.0.2 64512 passive"},
        problems=("/calico/x/bgppeers/p: cannot be read",),
    ),
    Case("everything in the log", cluster(A4, levels={"default": "Debug"}), log_level="debug"),
    Case("nothing in the log", cluster(A4, levels={"default": "Warning"}), log_level="none"),
    Case(
        "this node's own level of the log",
        cluster(A4, levels={"default": "Warning", "node.a": "Info", "node.b": "Debug"}),
        log_level="info",
    ),
]

CASES = [*MESH_CASES, *PEER_CASES, *REFLECTOR_CASES, *PASSWORD_CASES, *ROUTE_CASES, *NODE_CASES]
