"""The bundle's bill of materials, CycloneDX 1.6 in JSON: our packages, and the Debian and PyPI components in them.

Written as plain JSON, because the library's start alone costs more than a bundle that is up to date; a test validates
it against the specification's schema. The serial number is derived from the content: the same bundle has the same one.
A component that helped to build and is in no archive has the scope `excluded`.
"""

import uuid
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from release import VERSION
from release.layout import encode
from release.parts import Part, Source

_PRODUCT = "dcos-calico"
_NAMESPACE = uuid.UUID("6f0d2a52-2f3e-5d0b-9c55-1a1c8b8f5a3e")
_COMPONENT_KINDS = ("deb", "pypi", "url", "url_extract", "git")


def render_sbom(parts: Iterable[Part]) -> bytes:
    """The document's bytes."""
    ordered = sorted(parts)
    components = [_package(part) for part in ordered] + _components(ordered)
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "bom-ref": _PRODUCT,
                "type": "platform",
                "name": _PRODUCT,
                "version": VERSION,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
        "dependencies": _dependencies(ordered),
    }
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(_NAMESPACE, encode(document).decode())}"
    return encode(document)


def reference(source: Source) -> str:
    """The component's package URL, which is also its `bom-ref`."""
    name, version = quote(source.name, safe="+"), quote(source.version, safe="")
    if source.kind == "deb":
        return f"pkg:deb/debian/{name}@{version}?arch=amd64&distro=debian-12"
    if source.kind == "pypi":
        return f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
    return f"pkg:generic/{name}@{version}"


def _package(part: Part) -> dict[str, Any]:
    return {
        "bom-ref": str(part.id),
        "type": "application",
        "name": part.id.name,
        "version": part.id.version,
        "hashes": [{"alg": "SHA-256", "content": part.sha256}],
    }


def _components(parts: list[Part]) -> list[dict[str, Any]]:
    """One component for each source, however many packages it is in; shipped when one of them ships it."""
    found: dict[str, dict[str, Any]] = {}
    for source in (source for part in parts for source in part.sources if source.kind in _COMPONENT_KINDS):
        each = found.setdefault(reference(source), {"scope": "excluded", "licenses": []})
        each |= {
            "bom-ref": reference(source),
            "type": "library",
            "name": source.name,
            "version": source.version,
            "purl": reference(source),
        }
        if source.sha256:
            each["hashes"] = [{"alg": "SHA-256", "content": source.sha256}]
        if source.shipped:
            each["scope"] = "required"
        each["licenses"] = each["licenses"] or list(source.licences)
    components = [found[key] for key in sorted(found)]
    return [{key: value for key, value in each.items() if value != []} for each in components]


def _dependencies(parts: list[Part]) -> list[dict[str, Any]]:
    edges = [{"ref": _PRODUCT, "dependsOn": [str(part.id) for part in parts]}]
    for part in parts:
        shipped = {reference(each) for each in part.sources if each.shipped and each.kind in _COMPONENT_KINDS}
        edges.append({"ref": str(part.id), "dependsOn": sorted({*map(str, part.requires), *shipped})})
    return edges
