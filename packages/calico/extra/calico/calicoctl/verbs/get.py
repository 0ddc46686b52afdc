"""`get`: resources as a table, as YAML or JSON, or through a template."""

import argparse
from typing import TYPE_CHECKING, Any, NamedTuple

from calico.calicoctl import naming
from calico.calicoctl.session import Failure, Session
from calico.client.errors import NotFoundError, ResourceError
from calico.datastore.errors import DatastoreError
from calico.model.kinds import API_VERSION, KINDS, Kind
from calico.model.problems import ModelError
from calico.model.resource import encode

if TYPE_CHECKING:
    from calico.calicoctl.output.columns import Context
    from calico.client.resources import Client

_EXPORT_LEAVES_OUT = ("namespace", "uid", "resourceVersion", "creationTimestamp")
_OUTPUTS = ("", "ps", "wide", "yaml", "yml", "json")
_WITH_ARGUMENT = ("custom-columns", "go-template", "go-template-file")


class Found(NamedTuple):
    """One answer: a resource, or all of a kind as of `revision` (then not 0)."""

    kind: str
    items: list[dict[str, Any]]
    revision: int = 0

    def document(self) -> dict[str, Any]:
        """The resource, or upstream's list of resources."""
        if not self.revision:
            return self.items[0]
        metadata = {"resourceVersion": str(self.revision)}
        return {"kind": f"{self.kind}List", "apiVersion": API_VERSION, "metadata": metadata, "items": self.items}


def run(session: Session, options: argparse.Namespace) -> int:
    """Print what was found, then what was not; the exit code."""
    output, argument = output_of(options.output)
    if options.watch:
        from calico.calicoctl.verbs import watch

        return watch.run(session, options)
    errors: list[str] = []
    if options.filename:
        found, client = _of_files(session, options, errors)
    else:
        found, client = _of_words(session, options, errors)
    if found:
        _print(session, options, client, found, (output, argument))
    for error in errors:
        session.complain(error)
    return 1 if errors else 0


def output_of(text: str) -> tuple[str, str]:
    """The kind of output and what stands behind `=`; raises Failure."""
    output, equals, argument = text.partition("=")
    if (output in _OUTPUTS and not equals) or (output in _WITH_ARGUMENT and argument):
        return output, argument
    known = ", ".join([*_OUTPUTS[1:], *(f"{name}=..." for name in _WITH_ARGUMENT)])
    raise Failure(f"unrecognized output format '{text}'; there are: {known}")


def kind_and_namespace(options: argparse.Namespace) -> tuple[Kind, str]:
    """What to look for, and where: the namespace is empty for all and for cluster-wide kinds; raises Failure."""
    try:
        kind = naming.kind_of(options.kind)
    except Failure as failure:
        raise Failure(f"Failed to get resources: {failure}") from None
    if options.all_namespaces and options.namespace:
        raise Failure("--all-namespaces and --namespace cannot be used together")
    if options.all_namespaces and options.name:
        raise Failure("--all-namespaces lists; it cannot be used with a NAME (give its --namespace)")
    if options.export and not options.name:
        raise Failure("--export works on resources that are named: give NAME")
    return kind, "" if options.all_namespaces else naming.namespace_of(kind, options.namespace)


def _of_words(session: Session, options: argparse.Namespace, errors: list[str]) -> "tuple[list[Found], Client]":
    kind, namespace = kind_and_namespace(options)
    client = session.client(options.config)
    if options.name:
        wanted = [(kind.name, name, namespace, "") for name in options.name]
        return _named(client, wanted, options.export, errors), client
    try:
        listed = client.list(kind.name, namespace)
    except DatastoreError as error:
        raise Failure(str(error)) from None
    if listed.unreadable:
        errors.append(f"{listed.unreadable} {kind.name} in the datastore cannot be read and is left out (see above)")
    return [Found(kind.name, [encode(one) for one in listed.items], listed.revision)], client


def _of_files(session: Session, options: argparse.Namespace, errors: list[str]) -> "tuple[list[Found], Client]":
    if options.all_namespaces:
        raise Failure("--all-namespaces cannot be used with --filename")
    from calico.calicoctl import reading

    given = reading.resources(session, options)
    client = session.client(options.config)
    wanted = [
        (one.resource.kind, one.resource.metadata.name, one.resource.metadata.namespace, f"{one.document.where}: ")
        for one in given
    ]
    return _named(client, wanted, options.export, errors), client


def _named(client: "Client", wanted: list[tuple[str, str, str, str]], export: bool, errors: list[str]) -> list[Found]:
    found = []
    for kind, name, namespace, where in wanted:
        try:
            document = encode(client.get(kind, name, namespace))
        except (ResourceError, ModelError) as error:
            errors.append(f"{where}{error}")
        except DatastoreError as error:
            errors.append(f"{where}{error}")
            break
        else:
            found.append(Found(kind, [_exported(document) if export else document]))
    return found


def _exported(document: dict[str, Any]) -> dict[str, Any]:
    for member in _EXPORT_LEAVES_OUT:
        document["metadata"].pop(member, None)
    document["metadata"]["creationTimestamp"] = None
    return document


def _print(
    session: Session, options: argparse.Namespace, client: "Client", found: list[Found], output: tuple[str, str]
) -> None:
    form, argument = output
    if form in ("yaml", "yml", "json"):
        from calico.calicoctl.output import text

        documents: Any = [one.document() for one in found]
        documents = documents[0] if len(documents) == 1 else documents
        session.stdout.write(text.to_json(documents) if form == "json" else text.to_yaml(documents))
    elif form in ("go-template", "go-template-file"):
        session.stdout.write(_through_template(found, argument if form == "go-template" else _template(argument)))
    else:
        for one in found:
            session.stdout.write(_table(client, options, one, form, argument))


def _template(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"cannot read the template {path}: {error}") from None


def _through_template(found: list[Found], template: str) -> str:
    from calico.calicoctl.output import gotemplate

    try:
        return gotemplate.execute(template, [one.document() for one in found])
    except gotemplate.TemplateError as error:
        raise Failure(str(error)) from None


def _table(client: "Client", options: argparse.Namespace, found: Found, form: str, argument: str) -> str:
    from calico.calicoctl.output import columns, table

    names = headings(options, found.kind, form, argument)
    return table.render(columns.rows(found.kind, found.items, names, context(client, names)))


def headings(options: argparse.Namespace, kind: str, form: str, argument: str) -> list[str]:
    """The columns to show of `kind`; raises Failure."""
    from calico.calicoctl.output import columns

    try:
        if form == "custom-columns":
            return columns.custom(kind, argument.split(","))
    except columns.ColumnError as error:
        raise Failure(str(error)) from None
    namespace = KINDS[kind].namespaced and bool(options.namespace or options.all_namespaces)
    return columns.headings(kind, form == "wide", namespace)


def context(client: "Client", names: list[str]) -> "Context":
    """What the cells of these columns need beside their resource."""
    from calico.calicoctl.output.columns import Context

    if "ASN" not in names:
        return Context()
    try:
        return Context(client.get("BGPConfiguration", "default").spec.as_number or Context().as_number)
    except (NotFoundError, ModelError):
        return Context()
