"""Would a change cut a node from etcd?

A node without etcd keeps its last policy and learns of no better one: the mistake cannot be taken back from afar. So
before a write that can have this effect, it is tried on an overlay, and the ways to etcd that were open before and are
not *certain* to be open after are named.

Only host endpoints matter: workload policy never touches the node's own traffic. For each host endpoint the ways are
the etcd ports of the endpoints this calicoctl uses, outwards from every node and inwards (with etcd's peer port, both
ways) on a node that has one of their addresses. A way is open when felix's failsafe ports hold it open, or when the
first rule that may match it, in the order felix applies them, certainly matches and allows it. A rule that may or may
not match (selectors, networks that do not hold the address for certain, named ports) is never trusted to allow and
always trusted to deny: a warning too many is possible, one too few is not, except where names hide etcd's addresses
from a rule about networks or members.
"""

import functools
import ipaddress
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from calico.calicoctl.overlay import Overlay
from calico.client import values
from calico.client.errors import ResourceError
from calico.client.resources import Client
from calico.datastore.errors import DatastoreError
from calico.datastore.store import KeyValue, Store, listing
from calico.model.keys import list_prefix
from calico.model.problems import ModelError
from calico.model.profile import DEFAULT_ALLOW
from calico.model.resource import Resource
from calico.model.rule import EntityRule, Rule
from calico.selector.parser import Selector, SelectorError, parse

CLIENT_PORT, PEER_PORT = 2379, 2380
_FAILSAFE = frozenset((CLIENT_PORT, PEER_PORT))
"""The ports of etcd among felix's own failsafe ports, in both directions."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NO, _MAYBE, _YES = 0, 1, 2


class Way(NamedTuple):
    """A connection a node needs. `address` is etcd's; None where only its name is known."""

    ingress: bool
    port: int
    address: Address | None = None


class Cut(NamedTuple):
    """A way that is not certain to be open, and on which interface of which node."""

    node: str
    endpoint: str
    ingress: bool
    port: int

    def sentence(self) -> str:
        """What a warning says of it, behind what causes it."""
        direction, failsafe = ("ingress", "Inbound") if self.ingress else ("egress", "Outbound")
        return (
            f"would cut node {self.node} from etcd: {direction} of TCP port {self.port} on its host endpoint "
            f"{self.endpoint} would no longer be certain to pass; allow it in a policy that comes first, or list it in "
            f"failsafe{failsafe}HostPorts of FelixConfiguration default"
        )


class Rehearsal:
    """The writes of one command, tried one after the other on an overlay that reads each kind once."""

    def __init__(self, store: Store, endpoints: Iterable[str]) -> None:
        self._client = Client(Overlay(store, remembers=True))
        self._etcd = _addresses(endpoints)
        self._decoded: dict[tuple[str, bytes], Resource[Any] | None] = {}
        self._cuts: set[Cut] | None = None

    def caused(self, act: Callable[[Client], object]) -> list[Cut]:
        """The ways that `act` would cut. Where it fails there are none: the real attempt will say why."""
        try:
            before = self._found() if self._cuts is None else self._cuts
            act(self._client)
            self._cuts = self._found()
        except (ResourceError, ModelError, DatastoreError):
            return []
        return sorted(self._cuts - before)

    def _found(self) -> set[Cut]:
        """Every way that is not certain to be open."""
        host_endpoints = self._resources("HostEndpoint")
        if not host_endpoints:
            return set()
        kinds = ("GlobalNetworkPolicy", "Profile", "FelixConfiguration", "Node")
        state = _State(self._etcd, *(self._resources(kind) for kind in kinds))
        return {cut for one in host_endpoints for cut in state.cuts(one)}

    def _resources(self, kind: str) -> list[Resource[Any]]:
        """The resources of a kind that can be read, each decoded once."""
        found = [self._decode(item) for item in listing(self._client.store, list_prefix(kind)).items]
        return [one for one in found if one is not None]

    def _decode(self, item: KeyValue) -> Resource[Any] | None:
        key = (item.key, item.value)
        if key not in self._decoded:
            try:
                self._decoded[key] = values.read(item)
            except ModelError:
                self._decoded[key] = None
        return self._decoded[key]


def _addresses(endpoints: Iterable[str]) -> list[tuple[Address | None, int]]:
    """Address (None for a name, or one that is another on each node) and port of each URL."""
    from urllib.parse import urlsplit

    found: list[tuple[Address | None, int]] = []
    for endpoint in endpoints:
        try:
            url = urlsplit(endpoint)
            port = url.port or CLIENT_PORT
            address = ipaddress.ip_address(url.hostname or "")
            found.append((None if address.is_loopback else address, port))
        except ValueError:
            found.append((None, CLIENT_PORT))
    return found or [(None, CLIENT_PORT)]


class _State:
    """What decides about the nodes' own traffic."""

    def __init__(
        self,
        etcd: list[tuple[Address | None, int]],
        policies: list[Resource[Any]],
        profiles: list[Resource[Any]],
        configurations: list[Resource[Any]],
        nodes: list[Resource[Any]],
    ) -> None:
        self._etcd = etcd
        self._policies = sorted(
            policies, key=lambda one: (one.spec.order is None, one.spec.order or 0.0, one.metadata.name)
        )
        self._profiles = {one.metadata.name: one.spec for one in (*profiles, DEFAULT_ALLOW)}
        self._configurations = {one.metadata.name: one.spec for one in configurations}
        self._bgp = {one.metadata.name: one.spec.bgp for one in nodes}

    def cuts(self, endpoint: Resource[Any]) -> Iterable[Cut]:
        """The ways of one host endpoint that are not certain to be open."""
        node = endpoint.spec.node
        selected = [one for one in self._policies if self._selects(one, endpoint)]
        for way in self._ways(endpoint):
            if not self._is_failsafe(node, way) and not self._passes(endpoint, selected, way):
                yield Cut(node, endpoint.metadata.name, way.ingress, way.port)

    def _ways(self, endpoint: Resource[Any]) -> Iterable[Way]:
        own = self._own_addresses(endpoint)
        for address, port in self._etcd:
            yield Way(False, port, address)
            if address in own:
                yield Way(True, port, address)
                yield Way(True, PEER_PORT, address)
                yield Way(False, PEER_PORT)

    def _own_addresses(self, endpoint: Resource[Any]) -> set[Address]:
        texts = list(endpoint.spec.expected_ips)
        bgp = self._bgp.get(endpoint.spec.node)
        texts += [bgp.ipv4_address, bgp.ipv6_address] if bgp else []
        return {ipaddress.ip_interface(text).ip for text in texts if text}

    def _is_failsafe(self, node: str, way: Way) -> bool:
        """Whether felix lets it pass before any policy: by its node's setting, else the cluster's, else its own."""
        for name in (f"node.{node}", "default"):
            spec = self._configurations.get(name)
            if spec is None:
                continue
            ports = spec.failsafe_inbound_host_ports if way.ingress else spec.failsafe_outbound_host_ports
            if ports is not None:
                return any(one.protocol.upper() == "TCP" and one.port == way.port for one in ports)
        return way.port in _FAILSAFE

    def _selects(self, policy: Resource[Any], endpoint: Resource[Any]) -> bool:
        """A host endpoint is in no namespace and has no service account: a policy that asks for one is not its."""
        if policy.spec.namespace_selector or policy.spec.service_account_selector:
            return False
        labels: dict[str, str] = {}
        for name in endpoint.spec.profiles:
            labels.update(self._profiles[name].labels_to_apply if name in self._profiles else {})
        labels.update(endpoint.metadata.labels)
        try:
            return _parsed(policy.spec.selector or "all()").matches(labels)
        except SelectorError:
            return True

    def _passes(self, endpoint: Resource[Any], policies: list[Resource[Any]], way: Way) -> bool:
        """Untracked policies come first, then those before DNAT, then the others; only the others deny what they do
        not mention.
        """
        policies = [one for one in policies if ("Ingress" if way.ingress else "Egress") in one.spec.types]
        for early in ("do_not_track", "pre_dnat"):
            rules = _rules((one.spec for one in policies if getattr(one.spec, early)), way)
            verdict = _verdict(rules, way, on_pass=False)
            if verdict is not None:
                return verdict
        normal = [one.spec for one in policies if not one.spec.do_not_track and not one.spec.pre_dnat]
        on_pass = self._profiles_pass(endpoint, way)
        return bool(_verdict(_rules(normal, way), way, on_pass)) if normal else on_pass

    def _profiles_pass(self, endpoint: Resource[Any], way: Way) -> bool:
        specs = (self._profiles[name] for name in endpoint.spec.profiles if name in self._profiles)
        return bool(_verdict(_rules(specs, way), way, on_pass=False))


@functools.lru_cache(4096)
def _parsed(text: str) -> Selector:
    return parse(text)


def _rules(specs: Iterable[Any], way: Way) -> list[Rule]:
    return [rule for spec in specs for rule in (spec.ingress if way.ingress else spec.egress)]


def _verdict(rules: Iterable[Rule], way: Way, on_pass: bool) -> bool | None:
    """Whether the way is certain to pass; None where no rule decides. `on_pass` is what a Pass leads to."""
    for rule in rules:
        match = _match(rule, way)
        if not match or rule.action == "Log":
            continue
        good = rule.action == "Allow" or (rule.action == "Pass" and on_pass)
        if not good:
            return False
        if match == _YES:
            return True
    return None


def _match(rule: Rule, way: Way) -> int:
    checks = [_protocol(rule), _family(rule, way), _YES if rule.http is None else _MAYBE]
    checks.append(_entity(rule.destination, way.address, way.port))
    checks.append(_entity(rule.source, None, None))
    return min(checks)


def _protocol(rule: Rule) -> int:
    tcp = ("TCP", 6)
    if rule.protocol is not None and rule.protocol not in tcp:
        return _NO
    return _NO if rule.not_protocol in tcp else _YES


def _family(rule: Rule, way: Way) -> int:
    if rule.ip_version is None:
        return _YES
    if way.address is None:
        return _MAYBE
    return _YES if rule.ip_version == way.address.version else _NO


def _entity(entity: EntityRule, address: Address | None, port: int | None) -> int:
    """Whether one end of the way is what the rule asks for; an address or port of None is not known."""
    uncertain = entity.selector or entity.not_selector or entity.namespace_selector or entity.service_accounts
    checks = [_MAYBE if uncertain else _YES]
    if entity.nets:
        checks.append(max(_in_net(net, address) for net in entity.nets))
    checks += [_YES - _in_net(net, address) for net in entity.not_nets]
    if entity.ports:
        checks.append(max(_in_port(one, port) for one in entity.ports))
    checks += [_YES - _in_port(one, port) for one in entity.not_ports]
    return min(checks)


def _in_net(text: str, address: Address | None) -> int:
    net = ipaddress.ip_network(text, strict=False)
    if address is None:
        return _MAYBE
    return _YES if address.version == net.version and address in net else _NO


def _in_port(ports: Any, port: int | None) -> int:
    if ports.name or port is None:
        return _MAYBE
    return _YES if ports.first <= port <= ports.last else _NO
