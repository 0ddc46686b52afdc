"""manifest.json: what a bundle holds and what it was made from. It names no time, no host and no directory."""

from typing import Any

from release import VERSION
from release.layout import FORMAT, Entry, encode
from release.parts import Bootstrap, Part, Source


def render_manifest(parts: list[Part], bootstrap: Bootstrap, artifacts: list[Entry], inputs: dict[str, str]) -> bytes:
    """The document's bytes; `artifacts` is every other file of dist/ but SHA256SUMS, `inputs` names digests."""
    return encode(
        {
            "format": FORMAT,
            "product": "dcos-calico",
            "version": VERSION,
            "inputs": inputs,
            "bootstrap": {"id": bootstrap.id, "packages": sorted(map(str, bootstrap.packages))},
            "packages": {part.id.name: _package(part) for part in parts},
            "artifacts": {each.path: {"sha256": each.sha256, "size": each.size} for each in artifacts},
            "unlocked": [
                {"package": part.id.name, **_source(each)}
                for part in sorted(parts)
                for each in sorted_sources(part)
                if each.unlocked
            ],
        }
    )


def sorted_sources(part: Part) -> list[Source]:
    """A part's sources in an order of their own; licences, which are not ordered, do not enter it."""
    return sorted(part.sources, key=lambda each: (each.kind, each.name, each.version, each.sha256))


def _package(part: Part) -> dict[str, Any]:
    return {
        "id": str(part.id),
        "roles": list(part.roles),
        "requires": sorted(map(str, part.requires)),
        "tar_sha256": part.tar_sha256,
        "sources": [_source(each) for each in sorted_sources(part)],
    }


def _source(source: Source) -> dict[str, Any]:
    return {
        "kind": source.kind,
        "name": source.name,
        "version": source.version,
        "sha256": source.sha256,
        "unlocked": source.unlocked,
        "shipped": source.shipped,
    }
