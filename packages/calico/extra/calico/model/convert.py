"""From the deprecated v1 API to v3."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from calico.model import formats, v1
from calico.model.bgppeer import BGPPeerSpec
from calico.model.globalnetworkpolicy import GlobalNetworkPolicySpec
from calico.model.hostendpoint import HostEndpointSpec
from calico.model.ippool import IPPoolSpec
from calico.model.metadata import Metadata
from calico.model.node import NodeBGP, NodeSpec
from calico.model.profile import ProfileSpec
from calico.model.resource import Resource, prepare
from calico.model.rule import EntityRule, Rule
from calico.model.scalars import Protocol
from calico.model.workloadendpoint import WorkloadEndpointSpec, identity_of

_PROTOCOLS = {"tcp": "TCP", "udp": "UDP", "icmp": "ICMP", "icmpv6": "ICMPv6", "sctp": "SCTP", "udplite": "UDPLite"}
_ACTIONS = {"": "Allow", "allow": "Allow", "deny": "Deny", "log": "Log", "pass": "Pass", "next-tier": "Pass"}


def is_convertible(document: Mapping[str, Any]) -> bool:
    """Whether `convert` reads the document: it is of the v1 API."""
    return v1.is_v1(document)


def convert(document: Mapping[str, Any], *, where: str = "", strict: bool = False) -> Resource[Any]:
    """The v3 resource of a v1 document, with its defaults; raises ModelError when the document is wrong.

    The result may still be refused by `resource.validate`. A name the document gives a pool is kept, unless `strict`.
    """
    return convert_value(v1.decode(document, where=where, strict=strict))


def convert_value(old: v1.V1Resource) -> Resource[Any]:
    """The v3 resource of a v1 value."""
    return prepare(_CONVERSIONS[old.kind](old))


def normalise(name: str) -> str:
    """A v1 name as a v3 one; where that changes it, eight digits of a hash keep different names apart."""
    return _with_hash(name, _normalised(name))


def _normalised(name: str) -> str:
    text = re.sub(r"[^-.a-z0-9]+", "-", name.lower().replace("/", "."))
    text = re.sub(r"[.-]+", lambda run: "." if "." in run[0] else run[0], text)
    return text.strip(".-")


def _with_hash(name: str, text: str) -> str:
    if text == name:
        return text
    import hashlib

    digest = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:8]
    return f"{text}-{digest}"


def normalise_without_dots(name: str) -> str:
    """As `normalise`, for the kinds whose names have no dots."""
    return _with_hash(name, _normalised(name).replace(".", "-"))


def pool_name(cidr: str) -> str:
    """The name of a converted pool: `10-44-0-0-16`."""
    return cidr.replace(".", "-", 3).replace(":", "-", 7).replace("/", "-", 1)


def peer_name(node: str, address: str) -> str:
    """The name of a converted peer: its address, behind its node's name where it has one."""
    parsed = formats.parse_ip(address)
    text = parsed.exploded if parsed else address
    dashed = re.sub("[.:]", "-", text)
    return f"{_normalised(node)}.{dashed}" if node else dashed


def _pool(old: v1.V1Resource) -> Resource[IPPoolSpec]:
    found = formats.parse_cidr(old.metadata.cidr)
    cidr = str(found[1]) if found else old.metadata.cidr
    ipip = old.spec.ipip
    mode = "Never"
    if ipip is not None and ipip.enabled:
        mode = "CrossSubnet" if ipip.mode == "cross-subnet" else "Always"
    spec = IPPoolSpec(cidr, "Never", mode, old.spec.nat_outgoing, old.spec.disabled)
    return Resource("IPPool", Metadata(old.metadata.name or pool_name(cidr)), spec)


def _peer(old: v1.V1Resource) -> Resource[BGPPeerSpec]:
    spec = BGPPeerSpec(_normalised(old.metadata.node), old.metadata.peer_ip, old.spec.as_number)
    return Resource("BGPPeer", Metadata(peer_name(old.metadata.node, old.metadata.peer_ip)), spec)


def _node(old: v1.V1Resource) -> Resource[NodeSpec]:
    bgp = old.spec.bgp
    new = NodeBGP(bgp.as_number, bgp.ipv4_address, bgp.ipv6_address) if bgp is not None else None
    return Resource("Node", Metadata(_normalised(old.metadata.name)), NodeSpec(new, orch_refs=old.spec.orch_refs))


def _host_endpoint(old: v1.V1Resource) -> Resource[HostEndpointSpec]:
    metadata = Metadata(normalise(f"{old.metadata.node}.{old.metadata.name}"), labels=old.metadata.labels)
    profiles = tuple(map(_profile_name, old.spec.profiles))
    spec = HostEndpointSpec(
        _normalised(old.metadata.node), old.spec.interface_name, old.spec.expected_ips, profiles, old.spec.ports
    )
    return Resource("HostEndpoint", metadata, spec)


def _profile(old: v1.V1Resource) -> Resource[ProfileSpec]:
    labels = {_label_key(key): value for key, value in old.metadata.labels.items()}
    labels.update(dict.fromkeys(old.metadata.tags, ""))
    spec = ProfileSpec(_rules(old.spec.ingress), _rules(old.spec.egress), labels)
    return Resource("Profile", Metadata(_profile_name(old.metadata.name)), spec)


def _profile_name(name: str) -> str:
    if name.startswith("k8s_ns."):
        name = "kns." + name.removeprefix("k8s_ns.")
    return normalise(name)


def _policy(old: v1.V1Resource) -> Resource[GlobalNetworkPolicySpec]:
    spec = GlobalNetworkPolicySpec(
        old.spec.order,
        _rules(old.spec.ingress),
        _rules(old.spec.egress),
        _selector(old.spec.selector),
        tuple(name.capitalize() for name in old.spec.types),
        old.spec.do_not_track,
        old.spec.pre_dnat,
        old.spec.do_not_track or old.spec.pre_dnat,
    )
    metadata = Metadata(normalise_without_dots(old.metadata.name), annotations=old.metadata.annotations)
    return Resource("GlobalNetworkPolicy", metadata, spec)


def _workload_endpoint(old: v1.V1Resource) -> Resource[WorkloadEndpointSpec]:
    metadata = old.metadata
    workload = _workload_members(metadata)
    spec = WorkloadEndpointSpec(
        orchestrator=normalise(metadata.orchestrator),
        node=_normalised(metadata.node),
        endpoint=normalise(metadata.name),
        ip_networks=old.spec.ip_networks,
        ip_nats=old.spec.ip_nats,
        ipv4_gateway=old.spec.ipv4_gateway,
        ipv6_gateway=old.spec.ipv6_gateway,
        profiles=tuple(map(_profile_name, old.spec.profiles)),
        interface_name=old.spec.interface_name,
        mac=old.spec.mac,
        ports=old.spec.ports,
    )._replace(**workload)
    namespace = metadata.workload.partition(".")[0] if metadata.orchestrator == "k8s" else "default"
    labels = {_label_key(key): value for key, value in metadata.labels.items()}
    return Resource("WorkloadEndpoint", Metadata(identity_of(spec).name(), namespace=namespace, labels=labels), spec)


def _workload_members(metadata: v1.V1Metadata) -> dict[str, Any]:
    """How v3 names the workload: as its pod, its container, or by itself."""
    if metadata.orchestrator == "k8s":
        return {"pod": metadata.workload.partition(".")[2]}
    if metadata.orchestrator == "cni":
        return {"container_id": metadata.workload}
    return {"workload": normalise(metadata.workload)}


def _rules(rules: tuple[v1.V1Rule, ...]) -> tuple[Rule, ...]:
    return tuple(_rule(rule) for rule in rules)


def _rule(rule: v1.V1Rule) -> Rule:
    return Rule(
        _ACTIONS[rule.action],
        rule.ip_version,
        _protocol(rule.protocol),
        rule.icmp,
        _protocol(rule.not_protocol),
        rule.not_icmp,
        _entity(rule.source),
        _entity(rule.destination),
    )


def _protocol(protocol: Protocol | None) -> Protocol | None:
    return _PROTOCOLS.get(protocol.lower(), protocol) if isinstance(protocol, str) else protocol


def _entity(entity: v1.V1Entity) -> EntityRule:
    return EntityRule(
        nets=_nets(entity.net, entity.nets),
        selector=_tagged(entity.selector, entity.tag),
        ports=entity.ports,
        not_nets=_nets(entity.not_net, entity.not_nets),
        not_selector=_tagged(entity.not_selector, entity.not_tag),
        not_ports=entity.not_ports,
    )


def _nets(one: str, many: tuple[str, ...]) -> tuple[str, ...]:
    found = [formats.parse_cidr_or_ip(text) for text in ((one,) if one else ()) + many]
    return tuple(str(parsed[1]) for parsed in found if parsed)


def _tagged(selector: str, tag: str) -> str:
    """The selector that also asks for a tag, which v3 has as a label with an empty value."""
    text = _selector(selector)
    if not tag:
        return text
    return f"({text}) && {tag} == ''" if text else f"{tag} == ''"


def _selector(text: str) -> str:
    return text.replace("calico/k8s_ns", "projectcalico.org/namespace")


def _label_key(key: str) -> str:
    return "projectcalico.org/namespace" if key == "calico/k8s_ns" else key


_CONVERSIONS: dict[str, Callable[[v1.V1Resource], Resource[Any]]] = {
    "ipPool": _pool,
    "bgpPeer": _peer,
    "node": _node,
    "hostEndpoint": _host_endpoint,
    "profile": _profile,
    "policy": _policy,
    "workloadEndpoint": _workload_endpoint,
}
