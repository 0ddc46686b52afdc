"""The desired dataplane, as values: what `felix.calc` gives out and `felix.dataplane` makes true in the kernel.

Everything here is frozen, comparable and free of I/O. Networks and addresses are text in canonical form, `a.b.c.d/n` or
lower-case IPv6, so that they can be keys and compared; protocols are numbers.

A `Changes` is what differs from the last one: the dataplane after `Changes` number n is the one of the datastore as it
was then, in whatever order the datastore got there. The referents of what a `Changes` brings are in it, or were there
before.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Action = Literal["allow", "deny", "pass", "log"]
SetKind = Literal["net", "port"]
"""`net`: addresses and networks; a single address has no prefix length, so that a member is in a set once.
`port`: `address,protocol:port` members of a named port, e.g. `10.0.0.1,tcp:80`.
"""

RouteKind = Literal["remote-workload", "local-workload", "remote-host", "local-host", "pool"]
Encapsulation = Literal["none", "vxlan", "ipip"]


class PortRange(NamedTuple):
    """Ports `first` to `last`, both included."""

    first: int
    last: int


class Side(NamedTuple):
    """What a rule asks of one end of a connection. Every member that is given must hold.

    `nets`: the address is in one of them. `sets`: it is in each of these IP sets. `ports` and `port_sets`: the port is
    in a range, or (address, protocol, port) in one of these sets. The `not_` ones: it is in none.
    """

    nets: tuple[str, ...] = ()
    not_nets: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    not_sets: tuple[str, ...] = ()
    ports: tuple[PortRange, ...] = ()
    not_ports: tuple[PortRange, ...] = ()
    port_sets: tuple[str, ...] = ()
    not_port_sets: tuple[str, ...] = ()


class Icmp(NamedTuple):
    """An ICMP type, and a code where one is asked for."""

    type: int
    code: int | None = None


class Rule(NamedTuple):
    """One rule of a policy or profile. `ip_version` 0: both families. `not_icmp` with a code: not (type and code).

    A rule whose `nets` hold no network of a family, though they are given, has no meaning in that family.
    `annotations`: what the user wrote of it, shown by the policy trace and in comments.
    """

    action: Action
    ip_version: Literal[0, 4, 6] = 0
    protocol: int | None = None
    not_protocol: int | None = None
    icmp: Icmp | None = None
    not_icmp: Icmp | None = None
    source: Side = Side()
    destination: Side = Side()
    annotations: tuple[tuple[str, str], ...] = ()


class PolicyId(NamedTuple):
    """A policy by upstream's internal name: `default.foo` of a global policy, `ns/default.foo` of a namespaced one."""

    name: str

    @property
    def kind(self) -> str:
        """The kind of the resource."""
        return "NetworkPolicy" if "/" in self.name else "GlobalNetworkPolicy"


class Policy(NamedTuple):
    """An active policy: one that selects at least one local endpoint."""

    inbound: tuple[Rule, ...]
    outbound: tuple[Rule, ...]
    untracked: bool = False
    pre_dnat: bool = False


class Profile(NamedTuple):
    """A profile that a local endpoint names. One that is missing or invalid denies everything: no rule, `missing`."""

    inbound: tuple[Rule, ...]
    outbound: tuple[Rule, ...]
    missing: bool = False


class PolicyList(NamedTuple):
    """The policies that apply to an endpoint, in order, of each direction of the endpoint's traffic."""

    ingress: tuple[PolicyId, ...] = ()
    egress: tuple[PolicyId, ...] = ()


class WorkloadId(NamedTuple):
    """A local workload endpoint: unique on its host, and what decides between two that claim one interface."""

    orchestrator: str
    workload: str
    endpoint: str


class Nat(NamedTuple):
    """`external` leads to `internal`."""

    external: str
    internal: str


class Workload(NamedTuple):
    """A local workload endpoint. `addresses` are without prefix length. `active`: its admin state is up."""

    interface: str
    mac: str
    addresses4: tuple[str, ...]
    addresses6: tuple[str, ...]
    nat: tuple[Nat, ...]
    active: bool
    profiles: tuple[str, ...]
    policies: PolicyList
    name: str = ""
    """`namespace/name` of the resource, for people."""


class HostEndpoint(NamedTuple):
    """A host endpoint of this host. `interface` is a name, `*`, or empty where `addresses` choose the interface.

    `normal` applies to the host's own traffic, `untracked` before connection tracking, `pre_dnat` before DNAT (ingress
    only), `forward` to what passes through.
    """

    interface: str
    addresses: tuple[str, ...]
    profiles: tuple[str, ...]
    normal: PolicyList = PolicyList()
    untracked: PolicyList = PolicyList()
    pre_dnat: PolicyList = PolicyList()
    forward: PolicyList = PolicyList()


class IpSet(NamedTuple):
    """An IP set and what is in it; `id` is upstream's (`s:...` of a selector, `n:...` of a named port)."""

    kind: SetKind
    members: frozenset[str]


class SetChange(NamedTuple):
    """What came into a set and what left it."""

    added: frozenset[str]
    removed: frozenset[str]


class Route(NamedTuple):
    """Where a network is. `node`: whose; `node_address`: that node's IPv4 address, empty where it has none.

    `encapsulation` and `nat_outgoing` are of the pool it is in. `same_subnet`: the pool encapsulates between subnets
    only, and the node is in ours.
    """

    kind: RouteKind
    node: str = ""
    node_address: str = ""
    encapsulation: Encapsulation = "none"
    nat_outgoing: bool = False
    same_subnet: bool = False
    borrowed: bool = False
    """A single address of a block that is another node's."""


class Vtep(NamedTuple):
    """The VXLAN end of a node: its tunnel address and MAC address, and the node's own address."""

    address: str
    mac: str
    node_address: str


class Pool(NamedTuple):
    """An IP pool, for NAT (`masquerade`) and the tunnels. Disabled pools are pools all the same."""

    encapsulation: Encapsulation
    cross_subnet: bool
    masquerade: bool


class Host(NamedTuple):
    """What the datastore says of a node: empty where it says nothing."""

    address4: str = ""
    address6: str = ""
    vxlan_address: str = ""
    ipip_address: str = ""
    vxlan_mac: str = ""
    subnet4: str = ""


class Changes(NamedTuple):
    """What differs from the desired dataplane before. A value None: it is wanted no more.

    `sets_created` come whole; `sets_changed` are of sets that were there. `hosts` are all nodes of the cluster by name,
    this one among them; `routes` are by network; `vteps` by node, without this one.
    """

    sets_created: Mapping[str, IpSet] = {}
    sets_changed: Mapping[str, SetChange] = {}
    sets_removed: frozenset[str] = frozenset()
    policies: Mapping[PolicyId, Policy | None] = {}
    profiles: Mapping[str, Profile | None] = {}
    workloads: Mapping[WorkloadId, Workload | None] = {}
    host_endpoints: Mapping[str, HostEndpoint | None] = {}
    routes: Mapping[str, Route | None] = {}
    vteps: Mapping[str, Vtep | None] = {}
    pools: Mapping[str, Pool | None] = {}
    hosts: Mapping[str, Host | None] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not any(self)
