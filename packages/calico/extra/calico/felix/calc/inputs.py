"""What the graph reads of the datastore: one frozen value for each kind, and the syncer's decoders that make them.

A resource that is not valid counts as absent, as upstream's validation filter has it: its decoder raises ValueError,
and the syncer logs and counts it. Names come from the key, and a value that calls itself otherwise is not valid.
"""

import json
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any, NamedTuple

from calico.client.values import decode_resource
from calico.datastore.syncer import Decoder
from calico.felix.calc import rules, selectors
from calico.felix.calc.numbers import canonical_address, canonical_mac, canonical_network
from calico.felix.desired import Encapsulation, Nat, PolicyId, Pool, WorkloadId
from calico.ipam.block import allocated, flaw, owner
from calico.model import ipam
from calico.model.keys import BLOCKS, NAMESPACE_LABEL, BlockKey, list_prefix, parse_key, stored_name
from calico.model.node import without_empty_bgp
from calico.model.problems import Report
from calico.model.profile import DEFAULT_ALLOW, DEFAULT_ALLOW_NAME
from calico.model.resource import Resource, validate
from calico.model.rule import Rule
from calico.selector.parser import Selector

Labels = Mapping[str, str]
ORCHESTRATOR_LABEL = "projectcalico.org/orchestrator"
INHERITED = ("pcns.", "pcsa.")
"""Labels that only profiles may give: an endpoint must not pretend to be of another namespace or service account."""


class NamedPort(NamedTuple):
    """A port of an endpoint that rules may call by name; `protocol` is `tcp`, `udp` or `sctp`."""

    name: str
    protocol: str
    port: int


class Workload(NamedTuple):
    """A workload endpoint of any host. `nets` are its addresses, of both families and without prefix length."""

    node: str
    id: WorkloadId
    name: str
    interface: str
    mac: str
    nets: tuple[str, ...]
    nat: tuple[Nat, ...]
    profiles: tuple[str, ...]
    labels: Labels
    ports: tuple[NamedPort, ...]


class HostEnd(NamedTuple):
    """A host endpoint of any host. `nets` are the addresses it is expected to have."""

    node: str
    name: str
    interface: str
    nets: tuple[str, ...]
    profiles: tuple[str, ...]
    labels: Labels
    ports: tuple[NamedPort, ...]


class NetworkSet(NamedTuple):
    """A network set of either kind; a namespaced one inherits the labels of its namespace's profile."""

    nets: tuple[str, ...]
    profiles: tuple[str, ...]
    labels: Labels
    ports: tuple[NamedPort, ...] = ()


Member = Workload | HostEnd | NetworkSet
"""What selectors of rules select."""


class Policy(NamedTuple):
    """A policy of either kind. `order` None is last. Rules of a direction it does not govern are left out.

    `namespace` is that of its rules' selectors, empty for a global policy.
    """

    id: PolicyId
    namespace: str
    order: float | None
    selector: Selector
    governs_ingress: bool
    governs_egress: bool
    untracked: bool
    pre_dnat: bool
    on_forward: bool
    inbound: tuple[Rule, ...]
    outbound: tuple[Rule, ...]


class Profile(NamedTuple):
    """A profile: rules, and labels that endpoints inherit."""

    name: str
    labels: Labels
    inbound: tuple[Rule, ...]
    outbound: tuple[Rule, ...]


class Node(NamedTuple):
    """A node's addresses as they were given; those of IPv4 and IPv6 may have a prefix length."""

    name: str
    address4: str
    address6: str
    vxlan_address: str
    ipip_address: str
    vxlan_mac: str


class PoolInput(NamedTuple):
    """An IP pool and its resource's name, which decides between two pools of one network."""

    name: str
    cidr: str
    pool: Pool


class Claim(NamedTuple):
    """A network of a block that is a node's: the block itself, or an address in it that another node has."""

    cidr: str
    node: str
    borrowed: bool


class Block(NamedTuple):
    """What an allocation block says about routes."""

    claims: tuple[Claim, ...]


Input = Workload | HostEnd | NetworkSet | Policy | Profile | Node | PoolInput | Block


def _valid(key: str, raw: bytes, revision: int) -> Resource[Any]:
    """The valid resource under a key; ValueError says what is wrong with it."""
    resource = decode_resource(key, raw, revision)
    if resource is None:
        raise ValueError("not a resource's key")
    if resource.kind in _WITH_RULES:
        resource = _with_actions(resource)
    elif resource.kind == "Node":
        resource = without_empty_bgp(resource)
    problems = validate(resource)
    name = stored_name(resource.kind, resource.metadata.name)
    if key != list_prefix(resource.kind, resource.metadata.namespace) + name:
        raise ValueError(f"it calls itself {resource.id}")
    if problems:
        raise ValueError("; ".join(str(problem._replace(where="")) for problem in problems))
    return resource


def _with_actions(resource: Resource[Any]) -> Resource[Any]:
    """The policy or profile with `Allow` where a stored rule has no action."""
    spec = resource.spec
    if all(rule.action for rule in (*spec.ingress, *spec.egress)):
        return resource
    both = {name: tuple(one._replace(action=one.action or "Allow") for one in getattr(spec, name)) for name in _SIDES}
    return resource._replace(spec=spec._replace(**both))


_WITH_RULES = ("NetworkPolicy", "GlobalNetworkPolicy", "Profile")
_SIDES = ("ingress", "egress")


def _ports(given: tuple[Any, ...]) -> tuple[NamedPort, ...]:
    return tuple(NamedPort(one.name, rules.port_protocol(one.protocol), one.port) for one in given)


def _addresses(given: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses of whole-length networks or bare ones, once each."""
    return tuple(dict.fromkeys(canonical_address(one.partition("/")[0]) for one in given))


def decode_workload(key: str, raw: bytes, revision: int) -> Workload | None:
    """A workload endpoint; None for one without an address, which is none yet."""
    from calico.felix.calc.plain import plain_workload

    return plain_workload(key, json.loads(raw)) or checked_workload(key, raw, revision)


def checked_workload(key: str, raw: bytes, revision: int) -> Workload | None:
    """As `decode_workload`, by way of the model."""
    resource = _valid(key, raw, revision)
    spec, namespace = resource.spec, resource.metadata.namespace
    if not spec.ip_networks:
        return None
    workload = {"k8s": spec.pod, "cni": spec.container_id, "libnetwork": "libnetwork"}.get(
        spec.orchestrator, spec.workload
    )
    labels = {name: value for name, value in resource.metadata.labels.items() if not name.startswith(INHERITED)}
    labels[NAMESPACE_LABEL], labels[ORCHESTRATOR_LABEL] = namespace, spec.orchestrator
    return Workload(
        spec.node,
        WorkloadId(spec.orchestrator, f"{namespace}/{workload}", spec.endpoint),
        f"{namespace}/{resource.metadata.name}",
        spec.interface_name,
        canonical_mac(spec.mac),
        _addresses(spec.ip_networks),
        tuple(Nat(canonical_address(one.external_ip), canonical_address(one.internal_ip)) for one in spec.ip_nats),
        tuple(dict.fromkeys(spec.profiles)),
        labels,
        _ports(spec.ports),
    )


def decode_host_endpoint(key: str, raw: bytes, revision: int) -> HostEnd:
    """A host endpoint."""
    resource = _valid(key, raw, revision)
    spec = resource.spec
    return HostEnd(
        spec.node,
        resource.metadata.name,
        spec.interface_name,
        _addresses(spec.expected_ips),
        tuple(dict.fromkeys(spec.profiles)),
        dict(resource.metadata.labels),
        _ports(spec.ports),
    )


def decode_network_set(key: str, raw: bytes, revision: int) -> NetworkSet:
    """A network set of a namespace, or a global one."""
    resource = _valid(key, raw, revision)
    labels, namespace = dict(resource.metadata.labels), resource.metadata.namespace
    nets = tuple(dict.fromkeys(canonical_network(net).removesuffix(_whole(net)) for net in resource.spec.nets))
    if not namespace:
        return NetworkSet(nets, (), labels)
    labels[NAMESPACE_LABEL] = namespace
    return NetworkSet(nets, (f"kns.{namespace}",), labels)


def _whole(net: str) -> str:
    return "/128" if ":" in net else "/32"


def decode_policy(key: str, raw: bytes, revision: int) -> Policy:
    """A network policy, of a namespace or global. One without types governs both directions."""
    resource = _valid(key, raw, revision)
    spec, namespace = resource.spec, resource.metadata.namespace
    name = stored_name(resource.kind, resource.metadata.name)
    is_global = not namespace
    ingress = not spec.types or "Ingress" in spec.types
    pre_dnat = is_global and spec.pre_dnat
    egress = (not spec.types or "Egress" in spec.types) and not pre_dnat
    return Policy(
        PolicyId(name if is_global else f"{namespace}/{name}"),
        namespace,
        spec.order,
        selectors.of_policy(
            spec.selector, namespace, spec.namespace_selector if is_global else "", spec.service_account_selector
        ),
        ingress,
        egress,
        is_global and spec.do_not_track,
        pre_dnat,
        not is_global or spec.apply_on_forward,
        spec.ingress if ingress else (),
        spec.egress if egress else (),
    )


def decode_profile(key: str, raw: bytes, revision: int) -> Profile:
    """A profile."""
    return _profile(_valid(key, raw, revision))


def _profile(resource: Resource[Any]) -> Profile:
    spec = resource.spec
    return Profile(resource.metadata.name, dict(spec.labels_to_apply), spec.ingress, spec.egress)


DEFAULT_PROFILE = _profile(DEFAULT_ALLOW)
"""The profile that is always there and never stored."""
assert DEFAULT_PROFILE.name == DEFAULT_ALLOW_NAME


def decode_node(key: str, raw: bytes, revision: int) -> Node:
    """A node."""
    resource = _valid(key, raw, revision)
    spec, bgp = resource.spec, resource.spec.bgp
    return Node(
        resource.metadata.name,
        bgp.ipv4_address if bgp else "",
        bgp.ipv6_address if bgp else "",
        canonical_address(spec.ipv4_vxlan_tunnel_addr),
        canonical_address(bgp.ipv4_ipip_tunnel_addr) if bgp else "",
        _ethernet(canonical_mac(spec.vxlan_tunnel_mac_addr)),
    )


def _ethernet(mac: str) -> str:
    """The address; empty, as if none were given, where a VXLAN device cannot have it: 8 or 20 bytes, a group, zero."""
    fits = len(mac) == len("66:00:00:00:00:01") and not int(mac[:2], 16) & 1 and mac != "00:00:00:00:00:00"
    return mac if fits else ""


def decode_pool(key: str, raw: bytes, revision: int) -> PoolInput:
    """An IP pool; a disabled one is a pool all the same."""
    resource = _valid(key, raw, revision)
    spec = resource.spec
    encapsulation: Encapsulation = "none"
    if spec.vxlan_mode in _TUNNELLED:
        encapsulation = "vxlan"
    elif spec.ipip_mode in _TUNNELLED:
        encapsulation = "ipip"
    cross_subnet = "CrossSubnet" in (spec.vxlan_mode, spec.ipip_mode)
    cidr = canonical_network(spec.cidr)
    return PoolInput(resource.metadata.name, cidr, Pool(encapsulation, cross_subnet, spec.nat_outgoing))


_TUNNELLED = ("Always", "CrossSubnet")


def decode_block(key: str, raw: bytes, revision: int) -> Block | None:
    """An IPv4 allocation block; None for one of IPv6, for which nobody here makes routes."""
    parsed = parse_key(key)
    if not isinstance(parsed, BlockKey) or ":" in parsed.cidr:
        return None
    report = Report(key, strict=False)
    block: ipam.Block = ipam.BLOCK.decode(json.loads(raw), (), report)
    message = "; ".join(map(str, report.problems)) or flaw(block, parsed.cidr)
    if message:
        raise ValueError(message)
    return Block(tuple(_claims(block)))


def _claims(block: ipam.Block) -> list[Claim]:
    """The block, where it has an owner, and each address that the notes of its allocation give to another node."""
    node, first = owner(block), int(IPv4Network(block.cidr).network_address)
    claims = [Claim(block.cidr, node, False)] if node else []
    others = [(attribute.secondary or {}).get("node", "") for attribute in block.attributes or ()]
    if any(other not in ("", node) for other in others):
        for ordinal, attribute in allocated(block):
            other = (attribute.secondary or {}).get("node", "")
            if other not in ("", node):
                claims.append(Claim(f"{IPv4Address(first + ordinal)}/32", other, bool(node)))
    return claims


_OF_KIND: Mapping[str, Callable[[str, bytes, int], Input | None]] = {
    "GlobalNetworkPolicy": decode_policy,
    "NetworkPolicy": decode_policy,
    "GlobalNetworkSet": decode_network_set,
    "NetworkSet": decode_network_set,
    "HostEndpoint": decode_host_endpoint,
    "IPPool": decode_pool,
    "Node": decode_node,
    "Profile": decode_profile,
    "WorkloadEndpoint": decode_workload,
}
DECODERS: Mapping[str, Decoder] = {
    **{list_prefix(kind): decoder for kind, decoder in _OF_KIND.items()},
    BLOCKS: decode_block,
}
"""The prefixes the graph needs and their decoders, as `Syncer` takes them."""


def decode(key: str, raw: bytes, revision: int = 0) -> Input | None:
    """The value of any key the graph knows; None for any other; ValueError for one that is not valid."""
    decoder = next((decoder for prefix, decoder in DECODERS.items() if key.startswith(prefix)), None)
    value: Input | None = decoder(key, raw, revision) if decoder else None
    return value
