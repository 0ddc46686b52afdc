"""Between etcd's bytes and resources."""

import json
from typing import Any

from calico.datastore.store import KeyValue
from calico.model.keys import ResourceKey, from_stored, to_stored
from calico.model.problems import ModelError, Problem
from calico.model.resource import Resource


def decode_resource(key: str, value: bytes, revision: int) -> Resource[Any] | None:
    """A syncer's decoder for keys of resources: None for a key of no kind we know, ValueError for a broken value."""
    if ResourceKey.parse(key) is None:
        return None
    try:
        return read(KeyValue(key, value, revision))
    except ModelError as error:
        raise ValueError("; ".join(str(problem._replace(where="")) for problem in error.problems)) from None


def read(item: KeyValue) -> Resource[Any]:
    """The resource an item of the datastore holds, with its read defaults; ModelError names the key."""
    try:
        document = json.loads(item.value)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ModelError([Problem(item.key, (), "the stored value is not a JSON object")])
    resource = from_stored(item.key, document, item.mod_revision)
    if resource.kind == "IPPool":
        from calico.model.ippool import with_read_defaults

        return with_read_defaults(resource)
    return resource


def write(resource: Resource[Any]) -> tuple[str, bytes]:
    """The key and the bytes that store a resource."""
    key, document = to_stored(resource)
    return key, json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
