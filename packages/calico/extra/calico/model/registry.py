"""The registry of the cluster's networks in etcd, and which node has what of them.

In the scope `local` every Docker engine has networks of its own, with ids of its own, and knows nothing of other
nodes'. The registry says which networks there are in the cluster, by name, and each node what stands for them there.
Everything is below `/calico/dcos-calico/v1/`:

    docker/network/<name>           `Entry`: what the network is, and whether it is being removed
    docker/node/<node>/<engine id>  `Record`: the network of that id in that node's engine
    cni/<node>/<name>               `Placement`: that node has the network's CNI configuration, or is about to have it
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

REGISTRY = "/calico/dcos-calico/v1/docker/"
ENTRIES = f"{REGISTRY}network/"
NODES = f"{REGISTRY}node/"
PLACEMENTS = "/calico/dcos-calico/v1/cni/"

PROFILE_OPTION = "org.projectcalico.profile"
_FLAGS = ("private", "leaving", "removed")


class Definition(NamedTuple):
    """What a network is made of. Without `profile` the endpoints get the pool's name as theirs."""

    subnets: tuple[str, ...] = ()
    profile: str = ""
    ipv6: bool = False
    labels: Mapping[str, str] = {}

    def matches(self, other: "Definition") -> bool:
        """Whether containers find the same in both; labels of a network are for its reader alone."""
        return self._replace(labels={}) == other._replace(labels={})


class Entry(NamedTuple):
    """A network of the cluster. `removing`: agents that have no container on it have removed it, or will."""

    name: str
    definition: Definition
    removing: bool = False
    revision: int = 0


class Record(NamedTuple):
    """A network of a node's engine. `name` is empty until the engine was asked for it.

    `private`: its name stands for another network in the cluster; it is this node's alone. `leaving`: the plugin takes
    it from the engine, and its end says nothing about the cluster. `removed`: somebody took it from the engine, and the
    cluster has yet to be told.
    """

    node: str
    id: str
    definition: Definition
    name: str = ""
    private: bool = False
    leaving: bool = False
    removed: bool = False
    revision: int = 0

    @property
    def key(self) -> str:
        """Its key in etcd."""
        return f"{NODES}{self.node}/{self.id}"


class Placement(NamedTuple):
    """A network whose CNI configuration a node has."""

    node: str
    name: str

    @property
    def key(self) -> str:
        """Its key in etcd."""
        return f"{placements_of(self.node)}{self.name}"


def placements_of(node: str) -> str:
    """What the keys of a node's placements begin with."""
    return f"{PLACEMENTS}{node}/"


def read_placement(key: str) -> Placement:
    """What a key below `PLACEMENTS` says; the value says nothing."""
    node, _, name = key.removeprefix(PLACEMENTS).partition("/")
    return Placement(node, name)


def entry_key(name: str) -> str:
    """The key of a network of the cluster."""
    return ENTRIES + name


def write_entry(entry: Entry) -> bytes:
    """The bytes of an entry."""
    return _json({"name": entry.name, **_members(entry.definition), "removing": entry.removing})


def write_record(record: Record) -> bytes:
    """The bytes of a record."""
    members = {"name": record.name, **_members(record.definition)}
    return _json({**members, **{flag: getattr(record, flag) for flag in _FLAGS}})


def read(key: str, value: bytes, revision: int) -> Entry | Record | None:
    """What a key below `REGISTRY` holds; None for a key of another form. Raises ValueError for a broken value."""
    document = json.loads(value)
    if not isinstance(document, dict):
        raise ValueError("it is not an object")
    subnets, labels = document.get("subnets", []), document.get("labels") or {}
    if not isinstance(subnets, list) or not isinstance(labels, dict):
        raise ValueError("subnets must be a list, labels an object")
    definition = Definition(
        subnets=tuple(map(str, subnets)),
        profile=str(document.get("profile", "")),
        ipv6=bool(document.get("ipv6", False)),
        labels={str(name): str(text) for name, text in labels.items()},
    )
    match key.removeprefix(REGISTRY).split("/"):
        case ["network", name] if name:
            return Entry(name, definition, bool(document.get("removing", False)), revision)
        case ["node", node, identity] if node and identity:
            private, leaving, removed = (bool(document.get(flag, False)) for flag in _FLAGS)
            name = str(document.get("name", ""))
            return Record(node, identity, definition, name, private, leaving, removed, revision)
    return None


def _members(definition: Definition) -> dict[str, Any]:
    return {**definition._asdict(), "subnets": list(definition.subnets), "labels": dict(definition.labels)}


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
