"""`label`: one label of one resource."""

import argparse
from typing import TYPE_CHECKING, Any

from calico.calicoctl import naming, writing
from calico.calicoctl.caution import Caution
from calico.calicoctl.session import Failure, Session
from calico.calicoctl.tally import DRY
from calico.client.errors import NotFoundError, ResourceError
from calico.datastore.errors import DatastoreError
from calico.model import formats
from calico.model.problems import ModelError
from calico.model.resource import Resource

if TYPE_CHECKING:
    from calico.client.resources import Client


def run(session: Session, options: argparse.Namespace) -> int:
    """Set or remove the label; the exit code."""
    kind = naming.kind_of(options.kind)
    namespace = naming.namespace_of(kind, options.namespace)
    named = f"{kind.name} {options.name}"
    key, value = _parsed(options)
    client = session.client(options.config, options.dry_run)
    done = "set"

    def changed(stored: Resource[Any]) -> Resource[Any]:
        nonlocal done
        labels = dict(stored.metadata.labels)
        done = _change(labels, key, value, named, options.overwrite)
        return stored._replace(metadata=stored.metadata._replace(labels=labels))

    def act(client: "Client") -> None:
        writing.change(client, kind.name, options.name, namespace, changed)

    try:
        writing.refuse_foreign(kind.name, options.name, namespace, "label")
        Caution(session, client).warn(kind.name, f"the label of {named}", act)
        act(client)
    except NotFoundError:
        raise Failure(f"{named} not found") from None
    except (ResourceError, ModelError, DatastoreError) as error:
        raise Failure(f"failed to update label of {named}: {error}") from None
    preposition = "from" if done == "removed" else "on"
    session.say(f"Successfully {done} label {key} {preposition} {named}{DRY if options.dry_run else ''}")
    return 0


def _parsed(options: argparse.Namespace) -> tuple[str, str | None]:
    """The key, and its new value or None to remove it."""
    key, equals, value = options.label.partition("=")
    if options.remove:
        if equals:
            raise Failure(f"invalid label {options.label}: give only the key with --remove")
        return key, None
    if not equals:
        raise Failure(f"invalid label {options.label}: write KEY=VALUE, or KEY --remove")
    if message := formats.label(key, value):
        raise Failure(f"invalid label {options.label}: {message}")
    return key, value


def _change(labels: dict[str, str], key: str, value: str | None, named: str, overwrite: bool) -> str:
    if value is None:
        if key not in labels:
            raise Failure(f"can not remove label of {named}, key {key} does not exist")
        del labels[key]
        return "removed"
    if key not in labels:
        labels[key] = value
        return "set"
    if labels[key] != value and not overwrite:
        raise Failure(
            f"failed to update label of {named}, key {key} is already present. "
            "please use '--overwrite' to set a new value."
        )
    labels[key] = value
    return "updated"
