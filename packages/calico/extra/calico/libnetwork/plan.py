"""What has to be done so that the engine, the registry, the endpoints and the kernel agree: a pure planner.

`plan_networks` compares the networks of an engine with those of the cluster, `plan_leftovers` finds what no container
has any more, `plan_repairs` what a container lacks. The follower carries the actions out, one by one, and plans anew.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from calico.libnetwork.endpoints import Endpoint
from calico.libnetwork.engine import EngineEndpoint, EngineNetwork
from calico.libnetwork.links import Pair
from calico.libnetwork.networks import DRIVER, definition_of
from calico.model.registry import Definition, Entry, Record


class World(NamedTuple):
    """What there is. `engine` are all networks of the engine, Calico's with their endpoints.

    `records` are those of every node, `nodes` the nodes there are, `subnets` those that pools are over. `default` is
    the network every agent has, as it is to be made where it is missing; None: there is to be none.
    """

    node: str
    engine: Sequence[EngineNetwork]
    entries: Mapping[str, Entry]
    records: Sequence[Record]
    nodes: Collection[str]
    subnets: Collection[str]
    default: Entry | None = None
    unreadable: Collection[str] = ()
    """Names of networks of the cluster that nobody can read: they are left as they are."""
    open: Collection[str] = ()
    """Those of `subnets` whose pools give out addresses."""
    used: Collection[str] = ()
    """Ids of networks that a container refers to, be it a stopped one: it could not start again without its network."""
    is_settled: bool = True
    """Whether removals are long enough ago for `docker network prune`, which says so at its end, to have said so."""
    pruned: Collection[str] = ()
    """Ids of networks that went because the engine was tidied up."""

    @property
    def own(self) -> dict[str, Record]:
        """This node's records, by the engine's id."""
        return {record.id: record for record in self.records if record.node == self.node}


class PutEntry(NamedTuple):
    """Write a network of the cluster, over the revision it carries."""

    entry: Entry


class DropEntry(NamedTuple):
    """No node has the removed network any more."""

    entry: Entry


class PutRecord(NamedTuple):
    """Write what an id of the engine stands for and, with `entry`, the network of the cluster in the same step."""

    record: Record
    entry: Entry | None = None


class DropRecord(NamedTuple):
    """The engine does not have the network (its creation came to nothing, or its data is gone), or the node is gone."""

    record: Record


class SpreadRemoval(NamedTuple):
    """Somebody removed a network from the engine: the cluster's is to go too. The record goes in the same step."""

    record: Record
    entry: Entry | None


class CreateNetwork(NamedTuple):
    """Have the engine make a network of the cluster."""

    name: str
    definition: Definition


class RemoveNetwork(NamedTuple):
    """Have the engine remove a network that the cluster does not have, or has otherwise."""

    id: str
    name: str


class Say(NamedTuple):
    """Something that an operator is told. `is_brief`: it passes by itself in the first moments of a cluster."""

    text: str
    is_brief: bool = False


Action = PutEntry | DropEntry | PutRecord | DropRecord | SpreadRemoval | CreateNetwork | RemoveNetwork | Say


def plan_networks(world: World) -> list[Action]:
    """Every step that is right as things stand; those that rest on another's effect come in a later plan."""
    actions: list[Action] = []
    actions += _plan_default(world)
    own = world.own
    calico = [network for network in world.engine if network.driver == DRIVER]
    for network in calico:
        if network.name not in world.unreadable:
            actions += _plan_network(world, network, own.get(network.id))
    present = {network.id for network in calico}
    for record in own.values():
        if record.id not in present:
            actions += _plan_gone(world, record)
    actions += [DropRecord(record) for record in world.records if record.node not in world.nodes]
    actions += _plan_missing(world)
    actions += _plan_forgetting(world)
    return actions


def _plan_default(world: World) -> list[Action]:
    """The network of every agent: made where it is missing, moved when its pool was replaced by the configured one."""
    default = world.default
    if default is None or default.name in world.unreadable:
        return []
    entry = world.entries.get(default.name)
    if entry is None:
        return [PutEntry(default)]
    is_closed = not all(subnet in world.open for subnet in entry.definition.subnets)
    if is_closed and all(subnet in world.open for subnet in default.definition.subnets):
        return [PutEntry(default._replace(revision=entry.revision))]
    return []


def _plan_network(world: World, network: EngineNetwork, record: Record | None) -> list[Action]:
    """What one of the engine's networks asks for."""
    entry = world.entries.get(network.name)
    if record is None or record.name != network.name or record.removed:
        return [_adopt(world, network, entry)]
    if record.private:
        return []
    if entry is None or entry.removing or not entry.definition.matches(definition_of(network)):
        is_default = world.default is not None and network.name == world.default.name
        if entry is None and is_default:
            return []  # it is being written at this moment
        if network.endpoints or network.id in world.used:
            what = "has another definition" if entry and not entry.removing else "is removed"
            return [Say(f"network {network.name} {what} in the cluster; it stays here while containers are on it")]
        removing = RemoveNetwork(network.id, network.name)
        if entry is not None and not entry.removing and not record.leaving:
            return [PutRecord(record._replace(leaving=True)), removing]
        return [removing]
    return []


def _plan_gone(world: World, record: Record) -> list[Action]:
    """What follows from a record whose network the engine does not have."""
    if not record.removed:
        return [DropRecord(record)]
    if record.id in world.pruned:
        return [SpreadRemoval(record, None)]
    return [SpreadRemoval(record, world.entries.get(record.name))] if world.is_settled else []


def _adopt(world: World, network: EngineNetwork, entry: Entry | None) -> PutRecord:
    """The engine has a network that nobody has named yet: it is the cluster's, new to it, or private."""
    definition = definition_of(network)
    record = Record(world.node, network.id, definition, network.name)
    if entry is None or entry.removing:
        revision = entry.revision if entry else 0
        return PutRecord(record, Entry(network.name, definition, revision=revision))
    return PutRecord(record._replace(private=not entry.definition.matches(definition)))


def _plan_missing(world: World) -> list[Action]:
    """Networks of the cluster that the engine lacks. Its pools come first: the engine would be refused."""
    taken = {network.name: network for network in world.engine}
    in_question = {record.name for record in world.own.values() if record.removed}
    found: list[Action] = []
    for entry in sorted(world.entries.values()):
        if entry.removing or entry.name in in_question:
            continue
        there = taken.get(entry.name)
        if there is None and all(subnet in world.subnets for subnet in entry.definition.subnets):
            found.append(CreateNetwork(entry.name, entry.definition))
        elif there is None:
            wanted = ", ".join(one for one in entry.definition.subnets if one not in world.subnets)
            found.append(Say(f"network {entry.name} waits for an IPPool over {wanted}", is_brief=True))
        elif there.driver != DRIVER:
            found.append(Say(f"network {entry.name} of the cluster cannot be made: {there.driver}'s has its name"))
    return found


def _plan_forgetting(world: World) -> list[Action]:
    """Removed networks that no node of the cluster has any more."""
    held = {record.name for record in world.records if record.node in world.nodes and not record.private}
    return [DropEntry(entry) for entry in world.entries.values() if entry.removing and entry.name not in held]


class Leftovers(NamedTuple):
    """What no container has: endpoints in the datastore, pairs of interfaces, handles of addresses."""

    endpoints: frozenset[str] = frozenset()
    pairs: frozenset[str] = frozenset()
    handles: frozenset[str] = frozenset()


def plan_leftovers(
    connected: Mapping[str, EngineEndpoint],
    endpoints: Mapping[str, Endpoint],
    pairs: Mapping[str, Pair],
    handles: Mapping[str, Collection[str]],
) -> Leftovers:
    """What is left over by one look. Something under way looks the same, so only what two looks find may be taken.

    `connected` are the engine's endpoints; `handles` those whose addresses are of no endpoint in the datastore.
    """
    addresses = {network.partition("/")[0] for one in connected.values() for network in one.networks}
    return Leftovers(
        frozenset(one for one in endpoints if one not in connected),
        frozenset(one for one in pairs if one not in connected),
        frozenset(one for one, held in handles.items() if not addresses.intersection(held)),
    )


def plan_repairs(
    connected: Mapping[str, EngineEndpoint], endpoints: Mapping[str, Endpoint], pairs: Mapping[str, Pair]
) -> frozenset[str]:
    """Endpoints of running containers that the datastore lacks: it was restored from a time before them."""
    return frozenset(
        one for one, found in connected.items() if found.networks and one in pairs and one not in endpoints
    )


class Sightings:
    """Since when something has been seen at every look."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def long_seen(self, seen: Collection[str], now: float, long: float) -> list[str]:
        """What of `seen` was there at every look for at least `long` seconds."""
        self._since = {one: self._since.get(one, now) for one in seen}
        return sorted(one for one, since in self._since.items() if now - since >= long)

    def next_due(self, long: float) -> float | None:
        """When the first of them will have been seen that long; None when there is nothing."""
        return min(self._since.values()) + long if self._since else None
