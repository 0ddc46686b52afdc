"""What may be unpacked here: digests from a manifest that was itself verified.

A manifest is trusted by its own sha256, which the operator or `dcos_install.sh` gives: `verified` decides, and nothing
else. Whether the script that gives it is to be trusted is asked before that, by `pkgpanda.node.signature`.
"""

import re
from typing import Any, NamedTuple

from pkgpanda.errors import PandaError, Problem
from pkgpanda.ids import ROLES, PackageId
from pkgpanda.node.host import Host, read_json, shaped, to_json
from pkgpanda.node.layout import Layout
from pkgpanda.node.store import Digest

_HEX = re.compile(r"[0-9a-f]{64}")
_MEMBERS = {"id", "filename", "sha256", "size", "tar_sha256", "roles"}


class Item(NamedTuple):
    """A package of the bundle: where it is below the repository's URL, and how it is known to be the right one."""

    id: str
    filename: str
    digest: Digest
    size: int
    roles: tuple[str, ...]


Catalogue = dict[str, Item]
"""Items by package id."""


def is_digest(text: object) -> bool:
    """Whether `text` is a sha256 in lower-case hexadecimal."""
    return isinstance(text, str) and _HEX.fullmatch(text) is not None


def verified(data: bytes, sha256: str, where: str) -> bytes:
    """`data`, if it is what was promised; PandaError otherwise."""
    import hashlib

    actual = hashlib.sha256(data).hexdigest()
    if actual != sha256:
        raise PandaError.one(
            where,
            f"has sha256 {actual}, expected {sha256}",
            "the bundle served is not the one this dcos_install.sh belongs to: fetch that again",
        )
    return data


def parse(data: bytes, where: str) -> Catalogue:
    """Read a verified cluster-package-info.json."""
    import json

    try:
        document = json.loads(data)
    except ValueError as error:
        raise PandaError.one(where, f"is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise PandaError.one(where, "is not a JSON object")
    problems = [problem for name, entry in document.items() for problem in _problems(name, entry, where)]
    if problems:
        raise PandaError(problems)
    items = [_item(entry) for entry in document.values()]
    return {item.id: item for item in items}


def _item(entry: dict[str, Any]) -> Item:
    digest = Digest(entry["sha256"], entry["tar_sha256"])
    return Item(entry["id"], entry["filename"], digest, entry["size"], tuple(entry["roles"]))


def _problems(name: str, entry: Any, where: str) -> list[Problem]:
    if not isinstance(entry, dict) or _MEMBERS - set(entry):
        return [Problem(f"{where}: {name}", f"lacks one of {', '.join(sorted(_MEMBERS))}")]
    told: list[str] = []
    try:
        if PackageId.parse(str(entry["id"])).name != name:
            told.append(f"gives the id {entry['id']!r}")
    except PandaError as error:
        told += [f"gives an id that {problem.message}" for problem in error.problems]
    filename = entry["filename"]
    if not isinstance(filename, str) or not filename or filename.startswith("/") or ".." in filename.split("/"):
        told.append(f"gives the file name {filename!r}")
    told += [f"gives no {key}" for key in ("sha256", "tar_sha256") if not is_digest(entry[key])]
    if isinstance(entry["size"], bool) or not isinstance(entry["size"], int) or entry["size"] < 0:
        told.append(f"gives the size {entry['size']!r}")
    if not isinstance(entry["roles"], list) or not set(map(str, entry["roles"])) <= set(ROLES):
        told.append(f"gives the roles {entry['roles']!r}")
    return [Problem(f"{where}: {name}", message) for message in told]


def parse_sums(text: str, where: str) -> dict[str, str]:
    """Read a SHA256SUMS: path -> digest."""
    sums = {}
    for number, line in enumerate(text.splitlines(), 1):
        digest, _, path = line.partition(" ")
        if not is_digest(digest) or not path.lstrip(" *"):
            raise PandaError.one(f"{where}:{number}", "is not a line of sha256sum's")
        sums[path.lstrip(" *").removeprefix("./")] = digest
    return sums


def keep(host: Host, layout: Layout, catalogue: Catalogue) -> None:
    """Keep a verified catalogue for later `fetch` and `add`."""
    document = {
        item.id: {
            "id": item.id,
            "filename": item.filename,
            "sha256": item.digest.sha256,
            "tar_sha256": item.digest.tar_sha256,
            "size": item.size,
            "roles": list(item.roles),
        }
        for item in catalogue.values()
    }
    data = to_json(document)
    path = layout.at("catalogue.json")
    try:
        with open(path, "rb") as file:
            if file.read() == data:
                return
    except FileNotFoundError:
        pass
    host.replace(path, data)


def kept(layout: Layout) -> Catalogue:
    """The catalogue of the last bundle this node was set up from; empty when there was none."""
    try:
        document: Any = read_json(layout.at("catalogue.json"))
    except FileNotFoundError:
        return {}
    return shaped(
        layout.at("catalogue.json"), lambda: {package_id: _item(entry) for package_id, entry in document.items()}
    )


def item_of(catalogue: Catalogue, package_id: str) -> Item:
    """What is known of a package; PandaError when no verified manifest names it."""
    PackageId.parse(package_id)
    if package_id not in catalogue:
        raise PandaError.one(
            package_id,
            "is in no verified manifest",
            "give --package-info-sha256 with the bundle's digest, or --sha256 with the archive's",
        )
    return catalogue[package_id]
