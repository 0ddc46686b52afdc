"""What went into a built package, and which of it is in the archive rather than only a help to build it."""

import json
import re
from pathlib import Path

from pkgpanda.build.sources.base import SourceRecord
from pkgpanda.build.tree import BuiltPackage
from release import layout
from release.archives import read_archive
from release.licences import cyclonedx_licences
from release.parts import Part, Source

_PROOF = re.compile(r"usr/share/doc/([^/]+)/copyright|.*/([^/-]+)-[^/-]+\.dist-info/METADATA")
"""A Debian package's copyright file, or a wheel's METADATA: a package has one for each source it ships something of."""


def describe_part(built: BuiltPackage, work: Path) -> Part:
    """The package as a part of the bundle; `work` remembers what was found inside its archive."""
    shipped = _shipped(built, work)
    sources = tuple(_source(record, shipped) for record in built.sources)
    return Part(
        built.id, built.roles, built.archive, built.sha256, built.size, built.tar_sha256, built.requires, sources
    )


def _source(record: SourceRecord, shipped: set[str]) -> Source:
    licences = cyclonedx_licences(record.name, record.licence)
    proof = _wheel_name(record.name) if record.kind == "pypi" else record.name
    is_shipped = proof in shipped or record.kind not in ("deb", "pypi")
    return Source(record.kind, record.name, record.version, record.sha256, record.unlocked, is_shipped, licences)


def _wheel_name(project: str) -> str:
    """A project's name as wheels write it in file names (PEP 427)."""
    return re.sub(r"[-_.]+", "_", project).lower()


def _shipped(built: BuiltPackage, work: Path) -> set[str]:
    """The Debian packages and wheels whose proof is in the archive, which is read once."""
    note = work / f"{built.id}.shipped.json"
    try:
        known = json.loads(note.read_bytes())
        if known["sha256"] == built.sha256:
            return set(known["shipped"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    members = read_archive(built.archive, lambda _: False).members
    found = [match for member in members if (match := _PROOF.fullmatch(member.path))]
    shipped = {match[1] or _wheel_name(match[2]) for match in found}
    work.mkdir(parents=True, exist_ok=True)
    note.write_bytes(layout.encode({"sha256": built.sha256, "shipped": sorted(shipped)}))
    return shipped
