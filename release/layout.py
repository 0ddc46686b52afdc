"""What stands where in dist/ (docs/explanation/bundle.md), and how its documents are written.

Everything below is derived from bytes and ids: no time, no host, no path of the machine that built it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from pkgpanda.ids import PackageId

INSTALL_SCRIPT = "dcos_install.sh"
PACKAGE_INFO = "cluster-package-info.json"
PACKAGE_LIST_LATEST = "cluster-package-list.latest"
BOOTSTRAP_LATEST = "bootstrap.latest"
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
SBOM = "sbom.json"
METADATA = "metadata.json"
PROVENANCE = "provenance.json"

FORMAT = "dcos-calico-bundle-1"
"""The manifest's `format`: how a directory is recognised as a bundle of ours, and which rules it follows."""

DIRECTORY_MODE = 0o755


class Entry(NamedTuple):
    """A file of dist/: its bytes, or the file that holds them, with their digest and size."""

    path: str
    sha256: str
    size: int
    mode: int
    content: bytes | None = None
    source: Path | None = None


def entry(path: str, content: bytes, mode: int = 0o644) -> Entry:
    """An Entry whose bytes are at hand."""
    return Entry(path, hashlib.sha256(content).hexdigest(), len(content), mode, content=content)


def archive_path(package: PackageId) -> str:
    """Where a package's archive stands."""
    return f"packages/{package.name}/{package}.tar.xz"


def bootstrap_path(identifier: str) -> str:
    """Where the bootstrap tarball stands."""
    return f"bootstrap/{identifier}.bootstrap.tar.xz"


def active_path(identifier: str) -> str:
    """Where the list of what the bootstrap tarball holds stands."""
    return f"bootstrap/{identifier}.active.json"


def package_info_path(sha256: str) -> str:
    """Where cluster-package-info.json stands in a repository that several releases share."""
    return f"package_lists/{sha256}.package_info.json"


def package_list_path(identifier: str) -> str:
    """Where the list of every package id stands."""
    return f"package_lists/{identifier}.package_list.json"


def encode(document: Any) -> bytes:
    """A JSON document as every one of dist/ is written: sorted, indented, UTF-8, a newline at the end."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def encode_ids(ids: list[PackageId]) -> tuple[str, bytes]:
    """A list of ids as a document, with its name: the sha256 of the document's bytes."""
    content = encode(sorted(map(str, ids)))
    return hashlib.sha256(content).hexdigest(), content


def encode_sums(entries: list[Entry]) -> bytes:
    """SHA256SUMS, as `sha256sum --check` reads it."""
    return "".join(f"{each.sha256}  {each.path}\n" for each in sorted(entries)).encode()
