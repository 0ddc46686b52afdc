"""From files to resources, with the place of each for messages."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from calico.calicoctl.documents import Document, DocumentError, read
from calico.calicoctl.naming import AnyResource, placed
from calico.calicoctl.session import Failure, Session
from calico.model.problems import ModelError, Path, Problem
from calico.model.resource import decode

if TYPE_CHECKING:
    import argparse


class Given(NamedTuple):
    """A resource as a file gives it."""

    document: Document
    resource: AnyResource

    def explain(self, error: Exception) -> str:
        """What went wrong with it, each line with its file and line."""
        if isinstance(error, ModelError):
            return "\n".join(located(problem, self.document) for problem in error.problems)
        return f"{self.document.where}: {error}"


def resources(session: Session, options: "argparse.Namespace") -> list[Given]:
    """Every resource of the files of `options`, in the namespace it says.

    Everything that cannot be read is reported at once, and then nothing is handed out: raises Failure.
    """
    found: list[Given] = []
    wrong: list[str] = []
    for document in documents(session, options):
        try:
            found.append(Given(document, _resource(session, document, options.namespace)))
        except ModelError as error:
            wrong += [located(problem._replace(where="error parsing document"), document) for problem in error.problems]
        except Failure as error:
            wrong.append(f"{document.where}: {error}")
    if wrong:
        raise Failure(*wrong)
    return found


def documents(session: Session, options: "argparse.Namespace") -> list[Document]:
    """The documents of the files of `options`; raises Failure when one cannot be read or there are none."""
    try:
        found = read(options.filename, session.stdin, options.recursive)
    except DocumentError as error:
        raise Failure(str(error)) from None
    if not found:
        raise Failure(f"No resources specified in file {', '.join(options.filename)}")
    return found


def _resource(session: Session, document: Document, namespace: str) -> AnyResource:
    if document.data.get("apiVersion") == "v1":
        from calico.model import convert

        if convert.is_convertible(document.data):
            resource = convert.convert(document.data)
            session.complain(_notice(document, resource))
            return placed(resource, namespace)
    return placed(decode(document.data), namespace)


def _notice(document: Document, resource: AnyResource) -> str:
    """What became of a v1 document, for the user to look at."""
    from calico.model.resource import encode

    spec = ", ".join(f"{name}: {_short(value)}" for name, value in encode(resource)["spec"].items())
    return (
        f"{document.where}: Notice: {document.data['kind']} of the deprecated apiVersion v1 is taken as "
        f"{resource.id} of projectcalico.org/v3 ({spec}); 'calicoctl convert' writes it out"
    )


def _short(value: Any) -> str:
    if isinstance(value, list | dict):
        return f"{len(value)} given"
    return str(value).lower() if isinstance(value, bool) else str(value)


def located(problem: Problem, document: Document) -> str:
    """The problem with `file:line` in front: the line of the member it is about, or of the nearest one around it."""
    return f"{document.file}:{_line(problem.path, document)}: {problem}"


def _line(path: Path, document: Document) -> int:
    """Members match in any case, as the decoder matches them."""
    lines: Mapping[Path, int] = {_folded(one): line for one, line in document.lines.items()}
    wanted = _folded(path)
    return next((lines[wanted[:end]] for end in range(len(wanted), 0, -1) if wanted[:end] in lines), document.line)


def _folded(path: Iterable[str | int]) -> Path:
    return tuple(part.lower() if isinstance(part, str) else part for part in path)
