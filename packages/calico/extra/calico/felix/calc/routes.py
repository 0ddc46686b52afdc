"""Where each IPv4 network of the cluster is.

Several things may speak of one network: a pool, the owner of a block, the holder of a borrowed address, a node that has
it as its own address, a workload. The route of a network says what the last of these says, in that order; the pool
around it adds encapsulation and NAT, and the node its address. Nodes that claim the same are decided by name, so that
every felix, in whatever order it learnt of them, decides alike.
"""

from collections.abc import Iterable
from typing import NamedTuple

from calico.felix.calc import inputs
from calico.felix.calc.cluster import Nodes, Pools, bare
from calico.felix.calc.numbers import Network4
from calico.felix.calc.published import Published
from calico.felix.desired import Route, RouteKind


class _Claims:
    """Who says that a network is whose. The holder of an address counts before the owner of a block; then names do."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, tuple[bool, str]]] = {}
        self._networks: dict[str, tuple[str, ...]] = {}
        self._by_node: dict[str, set[str]] = {}

    def replace(self, claimant: str, claims: Iterable[inputs.Claim]) -> list[str]:
        """What a claimant claims now, instead of what it claimed before; returns the networks that were touched.

        Of two claims on one network the latter counts: the holder of the one address of a block, over its owner.
        """
        before = self._networks.pop(claimant, ())
        for cidr in before:
            self._remove(claimant, cidr)
        now = tuple(self._add(claimant, claim) for claim in {claim.cidr: claim for claim in claims}.values())
        if now:
            self._networks[claimant] = now
        return [*before, *now]

    def winner(self, cidr: str) -> tuple[str, bool] | None:
        """The node whose claim counts, and whether the network is borrowed; None where nobody claims it."""
        claims = self._of.get(cidr)
        if not claims:
            return None
        is_owner, node = min(claims.values())
        return node, not is_owner

    def of_node(self, node: str) -> Iterable[str]:
        """The networks that a node claims."""
        return self._by_node.get(node, ())

    def networks(self) -> Iterable[str]:
        """All networks that are claimed."""
        return self._of

    def _add(self, claimant: str, claim: inputs.Claim) -> str:
        cidr, node, borrowed = claim
        self._of.setdefault(cidr, {})[claimant] = (not borrowed, node)
        self._by_node.setdefault(node, set()).add(cidr)
        return cidr

    def _remove(self, claimant: str, cidr: str) -> None:
        claims = self._of[cidr]
        node = claims.pop(claimant)[1]
        if all(claim[1] != node for claim in claims.values()):
            self._by_node[node].discard(cidr)
            if not self._by_node[node]:
                del self._by_node[node]
        if not claims:
            del self._of[cidr]


class _Owner(NamedTuple):
    """Whose a network is."""

    kind: RouteKind
    node: str
    borrowed: bool = False


class Routes:
    """The routes of the cluster, seen from the node `own`.

    By `route_source` they come from blocks and local workloads (`CalicoIPAM`), or from all workloads (`WorkloadIPs`).
    """

    def __init__(self, own: str, nodes: Nodes, pools: Pools, route_source: str = "CalicoIPAM") -> None:
        self._own, self._nodes, self._pools = own, nodes, pools
        self._from_blocks = route_source != "WorkloadIPs"
        self._blocks = _Claims()
        self._hosts = _Claims()
        self._workloads = _Claims()
        self._subnet: Network4 | None = None
        self.published: Published[str, Route] = Published(self._route)

    def set_block(self, key: str, block: inputs.Block | None) -> None:
        """A block as it is now; None: it is gone."""
        if self._from_blocks:
            self.published.suspect_all(self._blocks.replace(key, block.claims if block else ()))

    def set_workload(self, key: str, workload: inputs.Workload | None) -> None:
        """A workload as it is now; None: it is gone."""
        claims: list[inputs.Claim] = []
        if workload is not None and (workload.node == self._own or not self._from_blocks):
            claims = [inputs.Claim(f"{net}/32", workload.node, False) for net in workload.nets if ":" not in net]
        self.published.suspect_all(self._workloads.replace(key, claims))

    def set_node(self, name: str, node: inputs.Node | None) -> None:
        """A node as it is now (`nodes` knows it already); None: it is gone."""
        address = bare(node.address4) if node else ""
        claims = [inputs.Claim(f"{address}/32", name, False)] if address else []
        self.published.suspect_all(self._hosts.replace(name, claims))
        for claims_of in (self._blocks, self._workloads):
            self.published.suspect_all(claims_of.of_node(name))
        if name == self._own:
            self._move_to(node)

    def _move_to(self, node: inputs.Node | None) -> None:
        """This node is in another subnet: any route may be within it, or no more."""
        text = node.address4 if node else ""
        found = Network4.parse(text) if text else None
        subnet = found.shortened(found.length) if found else None
        if subnet != self._subnet:
            self._subnet = subnet
            self._suspect_within(Network4(0, 0))

    def set_pools(self, cidrs: Iterable[str]) -> None:
        """Something differs of the pools of these networks (`pools` knows it already)."""
        for cidr in cidrs:
            if ":" not in cidr:
                self.published.suspect(cidr)
                self._suspect_within(Network4.parse(cidr))

    def _suspect_within(self, around: Network4) -> None:
        for claims in (self._blocks, self._hosts, self._workloads):
            inside = [cidr for cidr in claims.networks() if around.holds(Network4.parse(cidr))]
            self.published.suspect_all(inside)

    def _route(self, cidr: str) -> Route | None:
        owner = self._owner(cidr)
        if owner is None:
            pool = self._pools.pool(cidr)
            return None if pool is None else Route("pool", "", "", pool.encapsulation, pool.masquerade)
        pool = self._pools.around(cidr)
        address = self._nodes.address(owner.node)
        if pool is None:
            return Route(owner.kind, owner.node, address, borrowed=owner.borrowed)
        same = pool.cross_subnet and self._is_near(address)
        return Route(owner.kind, owner.node, address, pool.encapsulation, pool.masquerade, same, owner.borrowed)

    def _owner(self, cidr: str) -> _Owner | None:
        if found := self._workloads.winner(cidr):
            return self._workload_owner(*found)
        if found := self._hosts.winner(cidr):
            return _Owner("local-host" if found[0] == self._own else "remote-host", found[0])
        if found := self._blocks.winner(cidr):
            return self._workload_owner(*found)
        return None

    def _workload_owner(self, node: str, borrowed: bool) -> _Owner:
        return _Owner("local-workload" if node == self._own else "remote-workload", node, borrowed)

    def _is_near(self, address: str) -> bool:
        """Whether a node's address is in this node's subnet."""
        return bool(self._subnet and address and self._subnet.holds(Network4.parse(address)))
