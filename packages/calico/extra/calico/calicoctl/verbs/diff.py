"""`diff -f`: what apply would change, its effects on other resources included."""

import argparse
import difflib
from collections.abc import Iterator

from calico.calicoctl import comparison, reading, writing
from calico.calicoctl.comparison import Difference
from calico.calicoctl.output import text
from calico.calicoctl.overlay import Overlay
from calico.calicoctl.session import Failure, Session
from calico.client.errors import ResourceError
from calico.datastore.errors import DatastoreError
from calico.model.problems import ModelError

SAME, DIFFERENT, TROUBLE = 0, 1, 2


def run(session: Session, options: argparse.Namespace) -> int:
    """Print the differences; 0 where there are none, 1 where there are, 2 where apply would fail."""
    try:
        return _run(session, options)
    except Failure as failure:
        session.complain(str(failure))
        return TROUBLE


def _run(session: Session, options: argparse.Namespace) -> int:
    given = reading.resources(session, options)
    client = session.client(options.config, dry_run=True)
    failed = False
    for one in given:
        try:
            writing.apply(client, one.resource)
        except (ResourceError, ModelError) as error:
            session.complain(one.explain(error))
            failed = True
        except DatastoreError as error:
            raise Failure(f"{one.document.where}: {error}") from None
    overlay = client.store
    assert isinstance(overlay, Overlay)
    found = comparison.differences(overlay)
    _print(session, found, options.output)
    return TROUBLE if failed else DIFFERENT if found else SAME


def _print(session: Session, found: list[Difference], output: str) -> None:
    if output == "json":
        session.say(text.to_json([{**one._asdict(), "change": one.change} for one in found]).rstrip("\n"))
        return
    for one in found:
        for line in _unified(one):
            session.say(line)


def _unified(one: Difference) -> Iterator[str]:
    before = text.to_yaml(one.before).splitlines() if one.before is not None else []
    after = text.to_yaml(one.after).splitlines() if one.after is not None else []
    old = f"{one.id} in the datastore" if one.before is not None else "nothing"
    new = f"{one.id} as given" if one.after is not None else "nothing"
    return difflib.unified_diff(before, after, old, new, lineterm="")
