"""A Docker network as Calico sees it, and the registry of networks in etcd.

In the scope `local` every engine has networks of its own, with ids of its own, and knows nothing of other nodes'. The
registry says which networks there are in the cluster, by name, and each node which of its engine's ids stands for what.
Everything is below `/calico/dcos-calico/v1/docker/`:

    network/<name>           `Entry`: what the network is, and whether it is being removed
    node/<node>/<engine id>  `Record`: the network of that id on that node
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

REGISTRY = "/calico/dcos-calico/v1/docker/"
ENTRIES = f"{REGISTRY}network/"
NODES = f"{REGISTRY}node/"

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
    definition = Definition(
        subnets=tuple(map(str, document.get("subnets", ()))),
        profile=str(document.get("profile", "")),
        ipv6=bool(document.get("ipv6", False)),
        labels={str(name): str(text) for name, text in (document.get("labels") or {}).items()},
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
