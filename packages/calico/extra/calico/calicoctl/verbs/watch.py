"""`get --watch`: what is there, then every change as it happens."""

import argparse
from typing import TYPE_CHECKING, Any

from calico.calicoctl.output import columns, text
from calico.calicoctl.session import Failure, Session
from calico.calicoctl.verbs import get
from calico.datastore.errors import DatastoreError
from calico.model.keys import list_prefix
from calico.model.resource import encode

if TYPE_CHECKING:
    from calico.client.resources import Change

_WIDTH = {"NAME": 32, "EVENT": 8}
_USUAL_WIDTH = 18


def run(session: Session, options: argparse.Namespace) -> int:
    """Print one line (or document) per change until interrupted; it outlives lost connections."""
    form, argument = get.output_of(options.output)
    if form.startswith("go-template"):
        raise Failure("--watch shows tables, yaml and json; templates work on what get has read to its end")
    if options.filename or len(options.name) > 1:
        raise Failure("--watch takes a KIND and at most one NAME")
    kind, namespace = get.kind_and_namespace(options)
    client = session.client(options.config)
    show = _Documents(session, form) if form in ("yaml", "yml", "json") else _Rows(session, options, kind.name)
    try:
        if isinstance(show, _Rows):
            show.begin(client, form, argument)
        client.store.get(list_prefix(kind.name))  # the watch itself would wait for a datastore for ever
        for change in client.watch(kind.name, namespace):
            if change is None or change.resource is None:
                continue
            if not options.name or change.resource.metadata.name == options.name[0]:
                show.change(change)
                session.stdout.flush()
    except DatastoreError as error:
        raise Failure(str(error)) from None
    return 0


class _Documents:
    """A YAML document or a line of JSON for each change."""

    def __init__(self, session: Session, form: str) -> None:
        self._session, self._json = session, form == "json"

    def change(self, change: "Change") -> None:
        document = {"type": change.type, "object": encode(change.resource)} if change.resource else {}
        if self._json:
            import json

            self._session.say(json.dumps(document, ensure_ascii=False))
        else:
            self._session.stdout.write("---\n" + text.to_yaml(document))


class _Rows:
    """A table whose widths are fixed, since the rows to come are not known."""

    def __init__(self, session: Session, options: argparse.Namespace, kind: str) -> None:
        self._session, self._options, self._kind = session, options, kind
        self._names: list[str] = []
        self._context = columns.Context()

    def begin(self, client: Any, form: str, argument: str) -> None:
        self._names = get.headings(self._options, self._kind, form, argument)
        self._context = get.context(client, self._names)
        self._line(["EVENT", *self._names])

    def change(self, change: "Change") -> None:
        rows = (
            columns.rows(self._kind, [encode(change.resource)], self._names, self._context) if change.resource else []
        )
        for row in rows[1:]:
            self._line([change.type, *row])

    def _line(self, cells: list[str]) -> None:
        widths = [_WIDTH.get(name, _USUAL_WIDTH) for name in ("EVENT", *self._names)]
        self._session.say("   ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
