"""`create`, `apply`, `replace` and `delete -f`: one operation on every document of the files given."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from calico.calicoctl import reading, writing
from calico.calicoctl.caution import Caution
from calico.calicoctl.reading import Given
from calico.calicoctl.session import Session
from calico.calicoctl.tally import Tally
from calico.client.errors import AlreadyExistsError, NotFoundError, ResourceError
from calico.datastore.errors import DatastoreError
from calico.model.problems import ModelError
from calico.model.resource import Resource

if TYPE_CHECKING:
    from calico.client.resources import Client

Act = Callable[["Client", Resource[Any]], object]


def run(session: Session, options: argparse.Namespace) -> int:
    """Handle every document, also those behind a failed one, and report once at the end."""
    given = reading.resources(session, options)
    client = session.client(options.config, options.dry_run)
    caution = Caution(session, client)
    tally = Tally(options.command, [one.resource.kind for one in given], options.dry_run)
    for one in given:
        try:
            _handle(session, client, one, options, caution)
            tally.handled()
        except (ResourceError, ModelError) as error:
            tally.failed(one.explain(error))
        except DatastoreError as error:
            tally.gave_up(one.explain(error))
            break
    return tally.report_deletions(session) if options.command == "delete" else tally.report(session)


def _handle(session: Session, client: "Client", given: Given, options: argparse.Namespace, caution: Caution) -> None:
    act = _ACTS[options.command]
    resource = given.resource
    subject = f"{given.document.where}: {resource.id}"
    caution.warn(resource.kind, subject, lambda trial: act(trial, resource))
    if options.dry_run:
        _rehearse(session, client, given, act, options)
    else:
        _act(client, resource, act, options)


def _act(client: "Client", resource: Resource[Any], act: Act, options: argparse.Namespace) -> None:
    try:
        act(client, resource)
    except AlreadyExistsError:
        if not options.skip_exists:
            raise
    except NotFoundError:
        if not options.skip_not_exists:
            raise


def _rehearse(session: Session, client: "Client", given: Given, act: Act, options: argparse.Namespace) -> None:
    """Do it on a dry run's client, and say what it did to each resource."""
    from calico.calicoctl import comparison
    from calico.calicoctl.overlay import Overlay
    from calico.client.resources import Client

    trial = Overlay(client.store)
    _act(Client(trial), given.resource, act, options)
    differences = comparison.differences(trial)
    for difference in differences:
        session.say(f"{given.document.where}: {difference.id} would be {difference.change}")
    if not differences:
        session.say(f"{given.document.where}: {given.resource.id} would stay as it is")
    _act(client, given.resource, act, options)


def _delete(client: "Client", resource: Resource[Any]) -> None:
    metadata = resource.metadata
    writing.delete(client, resource.kind, metadata.name, metadata.namespace, metadata.resource_version)


_ACTS: dict[str, Act] = {
    "create": writing.create,
    "apply": writing.apply,
    "replace": writing.replace,
    "delete": _delete,
}
