"""`convert`: documents of the deprecated v1 API as v3 ones; no datastore needed."""

import argparse
from typing import Any

from calico.calicoctl import reading
from calico.calicoctl.documents import Document
from calico.calicoctl.output import text
from calico.calicoctl.session import Failure, Session
from calico.model import convert
from calico.model.problems import ModelError
from calico.model.resource import decode, encode, prepare, validate


def run(session: Session, options: argparse.Namespace) -> int:
    """Print the v3 form of every document; nothing, and every problem, where one is wrong."""
    found: list[dict[str, Any]] = []
    wrong: list[str] = []
    for document in reading.documents(session, options):
        try:
            found.append(_converted(document, options))
        except ModelError as error:
            wrong += [reading.located(problem._replace(where=""), document) for problem in error.problems]
    if wrong:
        raise Failure(*wrong)
    data = found[0] if len(found) == 1 else found
    session.stdout.write(text.to_json(data) if options.output == "json" else text.to_yaml(data))
    return 0


def _converted(document: Document, options: argparse.Namespace) -> dict[str, Any]:
    """`strict`: v3 documents, and the names DC/OS gives v1 pools, are refused as upstream refuses them."""
    if options.strict or document.data.get("apiVersion") == "v1":
        resource = convert.convert(document.data, strict=options.strict)
    else:
        resource = prepare(decode(document.data))
    if not options.ignore_validation and (problems := validate(resource)):
        raise ModelError(problems)
    return encode(resource)
