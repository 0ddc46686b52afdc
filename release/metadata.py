"""metadata.json and provenance.json: what a release is, and what it was made from, by what.

`metadata.json` keeps upstream's names where there is something of that name. `provenance.json` is an in-toto statement
with the SLSA predicate, which tools of other projects read. Neither holds a time, a host or a directory, so that the
same commit and configuration give the same bytes anywhere.
"""

import json
from typing import Any, NamedTuple

from pkgpanda.errors import PandaError
from release import VERSION, layout
from release.layout import Entry, encode, entry
from release.parts import Part
from release.source import Commit

FORMAT = "dcos-calico-release-1"
_BUILD_TYPE = "https://dcos-calico.invalid/release/create/v1"
_BUILDER = "https://dcos-calico.invalid/release"
"""Names, not addresses: `.invalid` resolves nowhere (RFC 2606)."""


class Identity(NamedTuple):
    """What a release calls itself."""

    tag: str
    commit: Commit
    url: str

    @property
    def title(self) -> str:
        """How scripts and lists name it."""
        return title(self.tag or VERSION, self.commit.id)


def title(tag: str, commit: str) -> str:
    """What a release's dcos_install.sh says that it is."""
    return f"dcos-calico {tag} (commit {commit[:12]})"


class Artifact(NamedTuple):
    """A file of a release: where it is in dist/, where in a repository, and how it is known."""

    path: str
    stored: str
    sha256: str
    size: int


class Metadata(NamedTuple):
    """What the rest of `release` reads of a metadata.json."""

    tag: str
    version: str
    commit: str
    url: str
    packages: dict[str, str]
    core: tuple[Artifact, ...]
    documents: tuple[Artifact, ...]


def is_core(path: str) -> bool:
    """Whether a file of dist/ is reproducible, and shared by every release that has it: its path names its content."""
    return "/" in path


def describe(identity: Identity, parts: list[Part], entries: list[Entry], inputs: dict[str, str]) -> list[Entry]:
    """The two documents, about the files before them."""
    return [
        entry(layout.METADATA, _metadata(identity, parts, entries, inputs)),
        entry(layout.PROVENANCE, _provenance(identity, parts, entries, inputs)),
    ]


def stored_path(each: Entry) -> str:
    """Where a reproducible file stands in a repository. The package list has a name there that says its content."""
    return layout.package_info_path(each.sha256) if each.path == layout.PACKAGE_INFO else each.path


def _metadata(identity: Identity, parts: list[Part], entries: list[Entry], inputs: dict[str, str]) -> bytes:
    core = [each for each in entries if is_core(each.path) or each.path == layout.PACKAGE_INFO]
    documents = [each for each in entries if not is_core(each.path)]
    return encode(
        {
            "format": FORMAT,
            "product": "dcos-calico",
            "version": VERSION,
            "tag": identity.tag,
            "commit": identity.commit.id,
            "dirty": identity.commit.dirty,
            "repository_url": identity.url,
            "inputs": inputs,
            "packages": {part.id.name: str(part.id) for part in parts},
            "core_artifacts": [_artifact(each, stored_path(each)) for each in sorted(core)],
            "channel_artifacts": [_artifact(each, each.path) for each in sorted(documents)],
        }
    )


def _artifact(each: Entry, stored: str) -> dict[str, Any]:
    return {"path": each.path, "reproducible_path": stored, "sha256": each.sha256, "size": each.size}


def _provenance(identity: Identity, parts: list[Part], entries: list[Entry], inputs: dict[str, str]) -> bytes:
    sources = {(each.kind, each.name, each.version, each.sha256) for part in parts for each in part.sources}
    return encode(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": each.path, "digest": {"sha256": each.sha256}} for each in sorted(entries)],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {
                "buildDefinition": {
                    "buildType": _BUILD_TYPE,
                    "externalParameters": {"tag": identity.tag, "repository_url": identity.url},
                    "internalParameters": {"inputs": inputs},
                    "resolvedDependencies": [
                        {
                            "name": "dcos-calico",
                            "digest": {"gitCommit": identity.commit.id},
                            "annotations": {"dirty": identity.commit.dirty},
                        },
                        *(_dependency(*each) for each in sorted(sources)),
                    ],
                },
                "runDetails": {"builder": {"id": _BUILDER, "version": {"dcos-calico": VERSION}}},
            },
        }
    )


def _dependency(kind: str, name: str, version: str, sha256: str) -> dict[str, Any]:
    about: dict[str, Any] = {"name": name, "annotations": {"kind": kind, "version": version}}
    return {**about, "digest": {"sha256": sha256}} if len(sha256) == 64 else about


def read_metadata(content: bytes, where: str) -> Metadata:
    """Read a metadata.json; PandaError where it is none of ours."""
    try:
        document = json.loads(content)
        if document["format"] != FORMAT:
            raise PandaError.one(where, f"has the format {document['format']!r}, and this program reads {FORMAT!r}")
        return Metadata(
            str(document["tag"]),
            str(document["version"]),
            str(document["commit"]) + ("-dirty" if document["dirty"] else ""),
            str(document["repository_url"]),
            {str(name): str(identifier) for name, identifier in document["packages"].items()},
            tuple(map(_read_artifact, document["core_artifacts"])),
            tuple(map(_read_artifact, document["channel_artifacts"])),
        )
    except (ValueError, OverflowError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise PandaError.one(where, "is not the metadata of a release") from error


def _read_artifact(about: dict[str, Any]) -> Artifact:
    return Artifact(_path(about["path"]), _path(about["reproducible_path"]), str(about["sha256"]), int(about["size"]))


def _path(text: str) -> str:
    """A path below a directory; ValueError for one that leads out of it, or that no file of ours has."""
    if not text.isprintable() or {"", ".", ".."} & set(text.split("/")):
        raise ValueError(text)
    return text
