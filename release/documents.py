"""Every file of dist/, from the packages up to the documents that speak of them."""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

from release import layout
from release.layout import Entry, entry
from release.manifest import render_manifest
from release.parts import Bootstrap, Part
from release.sbom import render_sbom


class Pins(NamedTuple):
    """What the install script carries: where trust on a node starts."""

    bootstrap_id: str
    bootstrap_sha256: str
    package_info_sha256: str
    package_list_id: str


Describe = Callable[[list[Entry]], list[Entry]]
"""Further documents about the files that are given to it."""


def bundle_entries(
    parts: list[Part],
    bootstrap: Bootstrap,
    render_script: Callable[[Pins], bytes],
    inputs: dict[str, str],
    describe: Describe = lambda entries: [],
) -> list[Entry]:
    """The files in the order in which each speaks only of those before it: SHA256SUMS, of all others, is the last."""
    list_id, package_list = layout.encode_ids([part.id for part in parts])
    _, active = layout.encode_ids(list(bootstrap.packages))
    info = layout.encode({part.id.name: _info(part) for part in parts})
    pins = Pins(bootstrap.id, bootstrap.sha256, hashlib.sha256(info).hexdigest(), list_id)
    tarball = Entry(
        layout.bootstrap_path(bootstrap.id), bootstrap.sha256, bootstrap.size, 0o644, source=bootstrap.archive
    )
    entries = [
        *(Entry(layout.archive_path(part.id), part.sha256, part.size, 0o644, source=part.archive) for part in parts),
        tarball,
        entry(layout.active_path(bootstrap.id), active),
        entry(layout.BOOTSTRAP_LATEST, bootstrap.id.encode() + b"\n"),
        entry(layout.package_list_path(list_id), package_list),
        entry(layout.PACKAGE_LIST_LATEST, list_id.encode() + b"\n"),
        entry(layout.PACKAGE_INFO, info),
        entry(layout.INSTALL_SCRIPT, render_script(pins), 0o755),
        entry(layout.SBOM, render_sbom(parts)),
    ]
    entries += describe(list(entries))
    entries.append(entry(layout.MANIFEST, render_manifest(parts, bootstrap, entries, inputs)))
    entries.append(entry(layout.SUMS, layout.encode_sums(entries)))
    return entries


def _info(part: Part) -> dict[str, Any]:
    return {
        "id": str(part.id),
        "filename": layout.archive_path(part.id),
        "sha256": part.sha256,
        "size": part.size,
        "tar_sha256": part.tar_sha256,
        "roles": list(part.roles),
    }
