"""What a migration is told, what it finds, and what it changes."""

from typing import NamedTuple


class Wish(NamedTuple):
    """From which networks to which; `host_ports`: also where ports of the host will not be published any more."""

    old: frozenset[str] = frozenset({"dcos"})
    new: str = "calico"
    host_ports: bool = False


class Finding(NamedTuple):
    """Something a person should know. `is_open`: it could not be decided, and what it is about was left as it is."""

    where: str
    text: str
    is_open: bool = False

    def __str__(self) -> str:
        return f"{'DECIDE ' if self.is_open else ''}{self.where}: {self.text}"


class Edit(NamedTuple):
    """The characters from `start` to `end` become `text`."""

    start: int
    end: int
    text: str


class Change(NamedTuple):
    """What a text becomes, and what was found. Without edits `after` is the text as it was."""

    after: str
    findings: tuple[Finding, ...]


def edited(text: str, edits: list[Edit]) -> str:
    """The text with all edits; they do not overlap."""
    for edit in sorted(edits, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text
