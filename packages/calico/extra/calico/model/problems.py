"""What is wrong with a document, member by member."""

from collections.abc import Iterable
from typing import NamedTuple

Path = tuple[str | int, ...]
"""A member's place in its document: names and list indexes, from the root."""


class Problem(NamedTuple):
    """One thing that is wrong with a document.

    `where` names the document (a file with a line, a key in etcd, `IPPool(a)`), `path` the member in it; `message`
    completes both to a sentence; `hint` says what to do, or is empty where the message leaves no doubt.
    """

    where: str
    path: Path
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.where, dotted(self.path)) if part)
        text = f"{place}: {self.message}" if place else self.message
        text += f" ({self.hint})" if self.hint else ""
        return text.replace("\n", "\\n").replace("\r", "\\r")


class ModelError(Exception):
    """A document that cannot be accepted; `problems` holds every reason found, in the document's order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class Report:
    """Collects problems while one document is read or checked.

    `strict` is how a user's own document is read: members that do not exist are problems. Values from etcd are read
    without it, since another version may have written members this one does not know.
    """

    __slots__ = ("problems", "strict", "where")

    def __init__(self, where: str = "", strict: bool = True) -> None:
        self.where = where
        self.strict = strict
        self.problems: list[Problem] = []

    def add(self, path: Path, message: str, hint: str = "") -> None:
        """Note one problem of the member at `path`."""
        self.problems.append(Problem(self.where, path, message, hint))


def dotted(path: Path) -> str:
    """`spec.ingress[0].action` of `("spec", "ingress", 0, "action")`; a name with a dot of its own is quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif "." in part or "/" in part or not part:
            text += f'["{part}"]'
        else:
            text += f".{part}" if text else part
    return text


def shown(value: object) -> str:
    """`value` as an error quotes it: the JSON spelling, cut where it grows long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text) - 2} characters)"


def nearest(name: str, known: Iterable[str]) -> str:
    """The member of `known` a misspelt `name` most likely meant, as a hint; empty when none is near."""
    import difflib

    by_lower = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower(), by_lower, 1, 0.6)
    return f"did you mean {by_lower[found[0]]}?" if found else ""
