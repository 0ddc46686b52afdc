"""What every kind of source can do, and what a build hands to it."""

import re
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from pkgpanda.build.fields import Note, unknown_keys
from pkgpanda.build.hashing import Digests
from pkgpanda.build.sources.cache import Cache
from pkgpanda.errors import PandaError

_COMPLAINT = re.compile(r"(?i:e|error|fatal):")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


class SourceRecord(NamedTuple):
    """What went into a package: for the manifest, the SBOM and whoever asks.

    `sha256` is of the file as fetched (of the declared inputs for `local`, "" for git, whose `version` is the commit).
    `unlocked` says that the archive no longer had the pinned version. `licence` is "" where the source does not say.
    """

    source: str
    kind: str
    name: str
    version: str
    sha256: str
    unlocked: bool = False
    licence: str = ""
    filename: str = ""


@dataclass(frozen=True)
class Workshop:
    """What fetching needs: the cache, remembered digests, whether pins are binding, and where to say what happens."""

    cache: Cache
    digests: Digests
    locked: bool = False
    report: Callable[[str], None] = field(default=lambda _line: None)


@dataclass(frozen=True)
class Source(ABC):
    """One source of a recipe. `where` is its key path for messages, `name` its key, `members` what the recipe says."""

    where: str
    name: str
    members: Mapping[str, Any]
    unlocked: bool = field(default=False, kw_only=True)

    kind: ClassVar[str]
    required: ClassVar[tuple[str, ...]]
    optional: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def check(cls, members: Mapping[str, Any], package_dir: Path, note: Note) -> None:
        """Note what is wrong with `members`; kinds add their own rules. Keys in notes are relative to the source."""
        for key, hint in unknown_keys(members, ("kind", *cls.required, *cls.optional)):
            note(key, f"is not a key of a {cls.kind} source", hint)
        for key in cls.required:
            if key not in members:
                note("", f"lacks the key {key}", f"a {cls.kind} source has {', '.join(cls.required)}")
        for key in (*cls.required, *cls.optional):
            value = members.get(key, "")
            if not isinstance(value, str) or (key in members and not value):
                note(key, f"is not a string with something in it: {value!r}", "")
        if "sha256" in members and isinstance(members["sha256"], str) and not _SHA256.fullmatch(members["sha256"]):
            note("sha256", "is not 64 hexadecimal digits", "")

    def prepare(self, package_dir: Path) -> Self:
        """The source with what it needs to know of its recipe's place."""
        return self

    def resolve(self, workshop: Workshop) -> dict[str, Any]:
        """What identifies the content, for the id and for buildinfo.full.json; no network."""
        return dict(self.members)

    def recall(self, workshop: Workshop) -> Self:
        """The source as an earlier build had to take it (see `deb`); usually itself."""
        return self

    @abstractmethod
    def fetch(self, workshop: Workshop) -> Self:
        """Make the content available here, verified; the source as used, which differs only when it is unlocked."""

    @abstractmethod
    def unpack(self, workshop: Workshop, target: Path) -> None:
        """Put the content into the empty directory `target`."""

    @abstractmethod
    def record(self, workshop: Workshop, unpacked: Path) -> SourceRecord:
        """What to say about it, once unpacked."""

    def problem(self, message: str, hint: str = "", status: int = 1) -> PandaError:
        """A PandaError at this source."""
        return PandaError.one(self.where, message, hint, status)


def run_program(where: str, command: Sequence[str | Path], **options: Any) -> str:
    """Run a program that fetches or unpacks; its stdout. A failure is one line with the program's own complaint."""
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, errors="replace", umask=0o022, **options
        )
    except FileNotFoundError as error:
        raise PandaError.one(where, f"needs the program {command[0]}", "install it", 3) from error
    if done.returncode:
        words = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        complaints = [line for line in words if _COMPLAINT.match(line)]
        said = (complaints[:1] or words[-1:] or [f"exit status {done.returncode}"])[0]
        name = command[2] if command[1] == "-m" else Path(command[0]).name
        raise PandaError.one(where, f"{name} failed: {said}")
    return str(done.stdout)


def extract_tar(where: str, archive: Path, target: Path, *options: str) -> None:
    """Unpack any tar that GNU tar reads, with our own user, umask and no special bits."""
    command: list[str | Path] = ["tar", "--no-same-owner", "--no-same-permissions", *options]
    run_program(where, [*command, "-xf", archive, "-C", target])
