"""Host endpoints: which one an interface belongs to, and the chains that lead there."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from calico.felix.dataplane.nft.bodies import Body, Kind
from calico.felix.dataplane.nft.names import Direction
from calico.felix.dataplane.nft.static import (
    FROM_HOST,
    FROM_HOST_FORWARD,
    MANGLE_FROM_HOST,
    RAW_FROM_HOST,
    RAW_TO_HOST,
    TO_HOST,
    TO_HOST_FORWARD,
)
from calico.felix.dataplane.nft.words import Parts, back, interface, joined
from calico.felix.dataplane.nft.workloads import is_interface_name
from calico.felix.desired import HostEndpoint, PolicyList
from calico.netlink.nftables.expressions import goto
from calico.netlink.nftables.objects import Chain, Rule

EVERY_INTERFACE = "*"
LOOPBACK = "lo"


class Dispatch(NamedTuple):
    """A chain that leads to host endpoints' chains of one kind and direction. `every`: the `*` endpoint is in it."""

    chain: str
    kind: Kind
    direction: Direction
    every: bool


_DISPATCHES = (
    Dispatch(FROM_HOST, "normal", "in", True),
    Dispatch(TO_HOST, "normal", "out", True),
    Dispatch(FROM_HOST_FORWARD, "forward", "in", True),
    Dispatch(TO_HOST_FORWARD, "forward", "out", True),
    Dispatch(RAW_FROM_HOST, "untracked", "in", False),
    Dispatch(RAW_TO_HOST, "untracked", "out", False),
    Dispatch(MANGLE_FROM_HOST, "pre_dnat", "in", True),
)


def match_interfaces(
    endpoints: Mapping[str, HostEndpoint], interfaces: Mapping[str, frozenset[str]], prefixes: tuple[str, ...]
) -> dict[str, HostEndpoint]:
    """The host endpoint of each interface, and of `*`.

    One that names an interface has it, whether the interface is there or not; one without a name has those that carry
    an address of its own. Where several would, the one with the lowest name has it. Workloads' interfaces, whose names
    begin with one of `prefixes`, have none.
    """
    found: dict[str, HostEndpoint] = {}
    for name in sorted(endpoints):
        for claimed in _claims(endpoints[name], interfaces):
            if not claimed.startswith(prefixes):
                found.setdefault(claimed, endpoints[name])
    return found


def _claims(endpoint: HostEndpoint, interfaces: Mapping[str, frozenset[str]]) -> Iterator[str]:
    if endpoint.interface:
        if endpoint.interface == EVERY_INTERFACE or is_interface_name(endpoint.interface):
            yield endpoint.interface
        return
    addresses = frozenset(endpoint.addresses)
    yield from (name for name, own in interfaces.items() if own & addresses)


def host_chains(matched: Mapping[str, HostEndpoint]) -> tuple[dict[str, Chain], frozenset[Body]]:
    """The dispatch chains that lead somewhere, and the bodies they lead to.

    The `*` endpoint stands behind all others, and never applies to loopback: what a host says to itself is its own.
    """
    chains: dict[str, Chain] = {}
    bodies: set[Body] = set()
    for dispatch in _DISPATCHES:
        targets = {name: _body(endpoint, dispatch) for name, endpoint in matched.items()}
        if not dispatch.every:
            targets.pop(EVERY_INTERFACE, None)
        if any(targets.values()):
            chains[dispatch.chain] = _dispatch_chain(targets, out=dispatch.direction == "out")
            bodies.update(body for body in targets.values() if body)
    return chains, frozenset(bodies)


def _body(endpoint: HostEndpoint, dispatch: Dispatch) -> Body | None:
    """What applies; None where it would decide nothing."""
    lists: dict[Kind, PolicyList] = {
        "normal": endpoint.normal,
        "forward": endpoint.forward,
        "untracked": endpoint.untracked,
        "pre_dnat": endpoint.pre_dnat,
    }
    chosen = lists[dispatch.kind]
    policies = chosen.ingress if dispatch.direction == "in" else chosen.egress
    if dispatch.kind == "normal":
        return Body("normal", dispatch.direction, "host", policies, endpoint.profiles)
    return Body(dispatch.kind, dispatch.direction, "host", policies) if policies else None


def _dispatch_chain(targets: Mapping[str, Body | None], *, out: bool) -> Chain:
    every = targets.get(EVERY_INTERFACE)
    rules: list[Parts] = []
    for name in sorted(set(targets) - {EVERY_INTERFACE}):
        body = targets[name]
        rules.append(joined(interface(name, out=out), (goto(body.chain),) if body else back))
    if every:
        if LOOPBACK not in targets:
            rules.append(joined(interface(LOOPBACK, out=out), back))
        rules.append((goto(every.chain),))
    return Chain(tuple(Rule(parts) for parts in rules))
