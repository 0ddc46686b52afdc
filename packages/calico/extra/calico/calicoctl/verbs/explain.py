"""`explain KIND[.MEMBER...]`: the members of a resource, read from the model that decodes it."""

import argparse
from collections.abc import Iterator

from calico.calicoctl import naming
from calico.calicoctl.meanings import meaning
from calico.calicoctl.session import Failure, Session
from calico.model.kinds import API_VERSION, Kind
from calico.model.metadata import METADATA
from calico.model.problems import nearest
from calico.model.schema import ANY, Choice, Codec, Listing, Member, Struct


def run(session: Session, options: argparse.Namespace) -> int:
    """Print the member asked for and the members it has."""
    word, *path = options.member.split(".")
    kind = naming.kind_of(word)
    member = Member(kind.name, _root(kind))
    walked: list[str] = []
    for name in path:
        member = _step(member, name.removesuffix("[]"), ".".join((kind.name, *walked)))
        walked.append(member.name)
    for line in _lines(kind, ".".join(walked), member):
        session.say(line)
    return 0


def _root(kind: Kind) -> Struct:
    """The whole resource as one structure, as deep as the model describes it."""
    definition = kind.definition()
    parts = [Member("metadata", METADATA, required=True), Member("spec", definition.spec, required=True)]
    if definition.status is not None:
        parts.append(Member("status", definition.status))
    return Struct(_Parts, parts)


class _Parts(tuple[object, ...]):
    """Stands for a resource's value, of which explain needs none."""

    @classmethod
    def _make(cls, values: list[object]) -> "_Parts":
        return cls(values)


def _step(member: Member, name: str, walked: str) -> Member:
    inner = _struct(member.codec)
    known = {one.name: one for one in inner.members} if inner else {}
    found = next((one for key, one in known.items() if key.lower() == name.lower()), None)
    if found is None:
        hint = nearest(name, known) or (f"its members: {', '.join(known)}" if known else "it has no members")
        raise Failure(f"{walked} has no member {name!r} ({hint})")
    return found


def _struct(codec: Codec) -> Struct | None:
    """The structure a member holds, alone or in a list."""
    while isinstance(codec, Listing):
        codec = codec.item
    return codec if isinstance(codec, Struct) else None


def _type(codec: Codec) -> str:
    if isinstance(codec, Listing):
        return f"list of {_type(codec.item)}"
    if isinstance(codec, Choice):
        return "one of " + ", ".join(value or '""' for value in codec.values)
    return "any value" if codec is ANY else codec.name.removeprefix("a ").removeprefix("an ")


def _lines(kind: Kind, path: str, member: Member) -> Iterator[str]:
    if path:
        yield f"MEMBER:    {kind.name}.{path}"
        yield f"TYPE:      {_described(member)}"
        if text := meaning(kind.name, path):
            yield f"MEANING:   {text}"
    else:
        yield f"KIND:      {kind.name} ({API_VERSION})"
        yield f"SCOPE:     {'namespaced' if kind.namespaced else 'cluster'}"
        yield f"ALIASES:   {', '.join(kind.aliases)}"
    members = _members(member) if path else _spread(member)
    if members:
        yield ""
        yield "MEMBERS:"
        prefix = f"{path}." if path else ""
        yield from _table([(one.name, _described(one), meaning(kind.name, prefix + one.name)) for one in members])


def _table(rows: list[tuple[str, str, str]]) -> Iterator[str]:
    widths = [min(max(len(row[column]) for row in rows), 40) for column in (0, 1)]
    for name, kind, text in rows:
        yield f"  {name.ljust(widths[0])}   {kind.ljust(widths[1])}   {text}".rstrip()


def _members(member: Member) -> list[Member]:
    inner = _struct(member.codec)
    return list(inner.members) if inner else []


def _spread(root: Member) -> list[Member]:
    """The members of a resource, with those of its parts but for metadata, which all kinds share."""
    found: list[Member] = []
    for part in _members(root):
        inner = [] if part.name == "metadata" else _members(part)
        found += [part, *(one._replace(name=f"{part.name}.{one.name}") for one in inner)]
    return found


def _described(member: Member) -> str:
    return _type(member.codec) + (" (required)" if member.required else "")
