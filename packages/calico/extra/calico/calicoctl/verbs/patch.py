"""`patch`: a JSON document merged into a resource."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from calico.calicoctl import naming, writing
from calico.calicoctl.caution import Caution
from calico.calicoctl.session import Failure, Session
from calico.calicoctl.tally import DRY
from calico.client.errors import ResourceError
from calico.datastore.errors import DatastoreError
from calico.model.problems import ModelError, Problem
from calico.model.resource import Resource, decode, encode
from calico.model.schema import unique_members

if TYPE_CHECKING:
    from calico.client.resources import Client


def run(session: Session, options: argparse.Namespace) -> int:
    """Merge the patch into what is stored and write it back; the exit code."""
    kind = naming.kind_of(options.kind)
    namespace = naming.namespace_of(kind, options.namespace)
    patch = _patch(options.patch)
    client = session.client(options.config, options.dry_run)

    def act(client: "Client") -> None:
        writing.change(client, kind.name, options.name, namespace, lambda stored: patched(stored, patch))

    try:
        writing.refuse_foreign(kind.name, options.name, namespace, "patch")
        Caution(session, client).warn(kind.name, f"patching {kind.name}({options.name})", act)
        act(client)
    except ModelError as error:
        raise Failure(f"Hit error: updating existing resource: {error}") from None
    except (ResourceError, DatastoreError) as error:
        raise Failure(f"Hit error: {error}") from None
    session.say(f"Successfully patched 1 '{kind.name}' resource{DRY if options.dry_run else ''}")
    return 0


def _patch(text: str) -> dict[str, Any]:
    try:
        patch = json.loads(text, object_pairs_hook=unique_members)
    except json.JSONDecodeError as error:
        raise Failure(f"the patch is not JSON: {error}; write it as -p '{{\"spec\": {{...}}}}'") from None
    except ModelError as error:
        raise Failure(f"the patch: {error}") from None
    except RecursionError:
        raise Failure("the patch is nested too deeply") from None
    if not isinstance(patch, dict):
        raise Failure(f"the patch is not a JSON object: {text}")
    return patch


def patched(stored: Resource[Any], patch: dict[str, Any]) -> Resource[Any]:
    """The resource with the patch merged in; raises ModelError for what does not fit, a changed identity included."""
    before = encode(stored)
    after = merge(before, patch)
    for member in ("kind", "apiVersion"):
        after[member] = before[member]
    result = decode(after)
    for member in ("name", "namespace"):
        if getattr(result.metadata, member) != getattr(stored.metadata, member):
            problem = Problem(stored.id, ("metadata", member), "cannot be changed: a resource keeps its name")
            raise ModelError([problem])
    fixed = {name: getattr(stored.metadata, name) for name in ("uid", "creation_timestamp")}
    return result._replace(metadata=result.metadata._replace(**fixed))


def merge(value: Any, patch: Any) -> Any:
    """Objects are merged member by member, null takes one away; anything else, a list too, stands in its stead."""
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for name, one in patch.items():
        if one is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), one)
    return result
